package admin_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/grant"
)

// operation is one action of an Admin, ready to be done in a world.
type operation struct {
	do     func(context.Context, admin.Actor) error
	kind   audit.Kind
	reason string
	detail map[string]string
	more   []string    // the reasons of further events
	also   audit.Kind  // of another event that tells of a part of the action; "": none
	done   func() bool // reports whether the action was done
}

// operations prepares every action in its own way. Each prepares what it acts on.
var operations = map[string]func(*world) operation{
	"suspend": func(w *world) operation {
		id := w.createUser("bob@example.com")
		return operation{kind: audit.KindSuspend, reason: "suspended", detail: map[string]string{"why": "laptop stolen"},
			do: func(ctx context.Context, a admin.Actor) error {
				_, err := w.Suspend(ctx, a, "BOB@example.com", " laptop stolen ")
				return err
			},
			done: func() bool { u, _ := w.directory.ByID(id); return u.Suspended != nil }}
	},
	"unsuspend": func(w *world) operation {
		id := w.createUser("bob@example.com")
		if _, err := w.Suspend(w.t.Context(), ada, id, "laptop stolen"); err != nil {
			w.t.Fatal(err)
		}
		return operation{kind: audit.KindSuspend, reason: "unsuspended",
			do:   func(ctx context.Context, a admin.Actor) error { return w.Unsuspend(ctx, a, id) },
			done: func() bool { u, _ := w.directory.ByID(id); return u.Suspended == nil }}
	},
	"remove user": func(w *world) operation {
		id := w.createUser("bob@example.com")
		w.beginSession(id)
		return operation{kind: audit.KindSCIM, reason: "removed",
			do: func(ctx context.Context, a admin.Actor) error {
				_, err := w.RemoveUser(ctx, a, "BOB@example.com")
				return err
			},
			done: func() bool { _, ok := w.directory.ByID(id); return !ok }}
	},
	"remove group": func(w *world) operation {
		w.push("POST", "/Groups", `{"displayName":"Old team","externalId":"old"}`, http.StatusCreated)
		return operation{kind: audit.KindSCIM, reason: "removed", detail: map[string]string{"display_name": "Old team"},
			do:   func(ctx context.Context, a admin.Actor) error { return w.RemoveGroup(ctx, a, "old team") },
			done: func() bool { return len(w.directory.Groups()) == 0 }}
	},
	"end session": func(w *world) operation {
		id := w.beginSession(w.createUser("bob@example.com"))
		return operation{kind: audit.KindEnd, reason: "operator",
			do:   func(ctx context.Context, a admin.Actor) error { return w.EndSession(ctx, a, id) },
			done: func() bool { return len(w.sessions.List()) == 0 }}
	},
	"end user's sessions": func(w *world) operation {
		user := w.createUser("bob@example.com")
		w.beginSession(user)
		return operation{kind: audit.KindEnd, reason: "operator",
			do: func(ctx context.Context, a admin.Actor) error {
				_, err := w.EndUserSessions(ctx, a, user)
				return err
			},
			done: func() bool { return len(w.sessions.List()) == 0 }}
	},
	"create token": func(w *world) operation {
		return operation{kind: audit.KindToken, reason: "created", detail: map[string]string{"name": "entra"},
			do: func(ctx context.Context, a admin.Actor) error {
				_, err := w.CreateToken(ctx, a, "entra", time.Hour)
				return err
			},
			done: func() bool { return w.countTokens() == 1 }}
	},
	"rotate token": func(w *world) operation {
		old, err := w.CreateToken(w.t.Context(), ada, "entra", 0)
		must(w.t, err)
		return operation{kind: audit.KindToken, reason: "rotated", detail: map[string]string{"name": "entra", "former": old.ID},
			do: func(ctx context.Context, a admin.Actor) error {
				_, err := w.RotateToken(ctx, a, old.ID, time.Hour, time.Minute)
				return err
			},
			done: func() bool { return w.countTokens() == 2 }}
	},
	"revoke token": func(w *world) operation {
		old, err := w.CreateToken(w.t.Context(), ada, "entra", 0)
		must(w.t, err)
		return operation{kind: audit.KindToken, reason: "revoked", detail: map[string]string{"name": "entra", "token": old.ID},
			do:   func(ctx context.Context, a admin.Actor) error { _, err := w.RevokeToken(ctx, a, old.ID); return err },
			done: func() bool { return w.countTokens() == 0 }}
	},
	"release": func(w *world) operation {
		held := w.holdDeactivation()
		return operation{kind: audit.KindSCIM, reason: "held deactivations released", detail: map[string]string{"users": "1", "user_1": held},
			do: func(ctx context.Context, a admin.Actor) error {
				_, err := w.Release(ctx, a, []string{held})
				return err
			},
			done: func() bool { u, _ := w.directory.ByID(held); return !u.Active }}
	},
	"reject": func(w *world) operation {
		w.holdDeactivation()
		return operation{kind: audit.KindSCIM, reason: "held deactivations rejected", detail: map[string]string{"users": "all"},
			do: func(ctx context.Context, a admin.Actor) error {
				_, err := w.Reject(ctx, a, nil)
				return err
			},
			done: func() bool {
				holds, err := w.Holds(w.t.Context(), ada)
				return err == nil && len(holds) == 1 && holds[0].Rejected != nil
			}}
	},
	"approve request": func(w *world) operation {
		r := w.request()
		return operation{kind: audit.KindRequest, reason: "approved", detail: map[string]string{"request": r.ID, "policy": "sre", "approvals": "1 of 1", "why": "go"}, also: audit.KindGrant,
			do: func(ctx context.Context, a admin.Actor) error {
				_, err := w.Approve(ctx, a, r.ID, 0, "go")
				return err
			},
			done: func() bool { return w.grants.Of(r.Person.ID, r.Person.Epoch) != nil }}
	},
	"deny request": func(w *world) operation {
		r := w.request()
		return operation{kind: audit.KindRequest, reason: "denied", detail: map[string]string{"request": r.ID, "policy": "sre", "why": "no"},
			do: func(ctx context.Context, a admin.Actor) error { return w.Deny(ctx, a, r.ID, "no") },
			done: func() bool {
				stored, err := w.grants.Request(r.ID)
				return err == nil && stored.State == grant.StateDenied
			}}
	},
	"revoke grant": func(w *world) operation {
		v, err := w.Approve(w.t.Context(), ada, w.request().ID, 0, "")
		must(w.t, err)
		return operation{kind: audit.KindGrant, reason: "revoked", detail: map[string]string{"grant": v.Grant, "policy": "sre", "why": "over"},
			do:   func(ctx context.Context, a admin.Actor) error { return w.RevokeGrant(ctx, a, v.Grant, "over") },
			done: func() bool { return w.grants.Of(v.Person.ID, v.Person.Epoch) == nil }}
	},
	"reload": func(w *world) operation {
		return operation{kind: audit.KindConfig, reason: "attempted", detail: map[string]string{"version": "1.2.3"}, more: []string{"reloaded"},
			do:   func(ctx context.Context, a admin.Actor) error { return w.Reload(ctx, a) },
			done: func() bool { return w.reloads == 1 }}
	},
	"backup": func(w *world) operation {
		var out bytes.Buffer
		return operation{kind: audit.KindBackup, reason: "copied",
			do:   func(ctx context.Context, a admin.Actor) error { return w.Backup(ctx, a, &out) },
			done: func() bool { return out.Len() > 0 }}
	},
}

// request returns a request for access that waits.
func (w *world) request() grant.Request {
	w.t.Helper()
	w.policies = sre()
	w.group("leads", w.create(person{name: "lead"}))
	return w.mustAsk(w.create(person{name: "bob"}))
}

func (w *world) countTokens() int {
	tokens, err := w.provisioning.Tokens(w.t.Context())
	must(w.t, err)
	return len(tokens)
}

// each runs f with every operation, in a world of its own.
func each(t *testing.T, f func(*testing.T, *world, operation)) {
	for name, prepare := range operations {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			op := prepare(w)
			if op.done() {
				t.Fatal("it is done before it begins")
			}
			f(t, w, op)
		})
	}
}

func TestAdmin_RecordsWhoActed(t *testing.T) {
	each(t, func(t *testing.T, w *world, op operation) {
		before := len(w.events())
		if err := op.do(t.Context(), ada); err != nil {
			t.Fatal(err)
		}
		if !op.done() {
			t.Error("it is not done")
		}
		want := 1 + len(op.more)
		if op.also != "" {
			want++
		}
		events := w.lastEvents(want)
		if got := len(w.events()) - before; got != want {
			t.Errorf("it is recorded by %d events", got)
		}
		if last := events[want-1]; op.also != "" && last.Kind != op.also {
			t.Errorf("it is recorded as %s too, not as %s", last.Kind, op.also)
		}
		if e := events[0]; e.Kind != op.kind || e.Reason != op.reason {
			t.Errorf("it is recorded as %s %s", e.Kind, e.Reason)
		}
		for name, want := range op.detail {
			if got := events[0].Detail[name]; got != want {
				t.Errorf("the detail %s is %q, want %q", name, got, want)
			}
		}
		for i, reason := range op.more {
			if got := events[i+1]; got.Kind != op.kind || got.Reason != reason {
				t.Errorf("further event %d is %s %s", i, got.Kind, got.Reason)
			}
		}
	})
}

func TestAdmin_DoesNothingUnrecorded(t *testing.T) {
	each(t, func(t *testing.T, w *world, op operation) {
		before := w.events()
		must(t, w.log.Close())
		err := op.do(t.Context(), ada)
		if !errors.Is(err, admin.ErrNotRecorded) || !strings.Contains(err.Error(), "nothing was done") {
			t.Errorf("the error is %v", err)
		}
		if op.done() {
			t.Error("it is done, although it is not recorded")
		}
		if after := w.events(); len(after) != len(before) {
			t.Errorf("the record has %d events more", len(after)-len(before))
		}
	})
}

func TestAdmin_RejectsActionsWithoutActor(t *testing.T) {
	each(t, func(t *testing.T, w *world, op operation) {
		for _, actor := range []admin.Actor{{}, {Kind: audit.ActorOperator}, {Name: "ada"}} {
			if err := op.do(t.Context(), actor); !errors.Is(err, admin.ErrNoActor) {
				t.Errorf("as %+v the error is %v", actor, err)
			}
			if op.done() {
				t.Errorf("as %+v it is done", actor)
			}
		}
	})
}

// TestAdmin_RecordsFailures closes the store before actions that are recorded before they read it.
func TestAdmin_RecordsFailures(t *testing.T) {
	for name, do := range map[string]func(*world) error{
		"create token": func(w *world) error { _, err := w.CreateToken(t.Context(), ada, "entra", 0); return err },
		"release":      func(w *world) error { _, err := w.Release(t.Context(), ada, []string{"bob"}); return err },
		"reject":       func(w *world) error { _, err := w.Reject(t.Context(), ada, nil); return err },
		"backup":       func(w *world) error { return w.Backup(t.Context(), ada, new(bytes.Buffer)) },
		"end sessions": func(w *world) error { _, err := w.EndUserSessions(t.Context(), ada, "bob"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			must(t, w.store.Close())
			err := do(w)
			if err == nil || errors.Is(err, admin.ErrNotRecorded) {
				t.Fatalf("the error is %v", err)
			}
			events := w.lastEvents(2)
			first, second := events[0], events[1]
			if second.Kind != first.Kind || second.Reason != "failed" || second.User != first.User {
				t.Errorf("%s %s is followed by %s %s", first.Kind, first.Reason, second.Kind, second.Reason)
			}
			if second.Detail["action"] != first.Reason || second.Detail["error"] != err.Error() {
				t.Errorf("the failure is recorded with %v", second.Detail)
			}
			rest := maps.Clone(second.Detail)
			delete(rest, "action")
			delete(rest, "error")
			if len(rest) != len(first.Detail) || len(rest) > 0 && !maps.Equal(rest, first.Detail) {
				t.Errorf("the failure is recorded of %v, not of %v", rest, first.Detail)
			}
		})
	}
}

func TestAdmin_ReportsThatAnOutcomeIsNotRecorded(t *testing.T) {
	fault := errors.New("the file has a fault")
	for name, outcome := range map[string]error{"done": nil, "failed": fault} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.reload = func(context.Context) error { return errors.Join(w.log.Close(), outcome) }
			err := w.Reload(t.Context(), ada)
			if !errors.Is(err, admin.ErrNotRecorded) || strings.Contains(err.Error(), "nothing was done") {
				t.Errorf("the error is %v", err)
			}
			if outcome != nil && !errors.Is(err, fault) {
				t.Errorf("the error does not say why the action failed: %v", err)
			}
			if e := w.lastEvents(1)[0]; e.Reason != "attempted" {
				t.Errorf("the last event is %s", e.Reason)
			}
			if err := w.Reload(t.Context(), ada); !errors.Is(err, admin.ErrNotRecorded) || w.reloads != 1 {
				t.Errorf("the next action gives %v", err)
			}
		})
	}
}

func TestAdmin_FinishesRecordedActions(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.reload = func(ctx context.Context) error {
		cancel()
		return ctx.Err()
	}
	if err := w.Reload(ctx, ada); err != nil {
		t.Errorf("the action is given up with who asked for it: %v", err)
	}
}

func TestReload_RecordsWhyItWasRefused(t *testing.T) {
	w := newWorld(t)
	fault := errors.New(strings.Repeat("ä", 3000) + "\n")
	w.reload = func(context.Context) error { return fault }
	signal := admin.System("SIGHUP")
	if err := w.Reload(t.Context(), signal); !errors.Is(err, fault) {
		t.Errorf("the error is %v", err)
	}
	events := w.events()
	for i, reason := range []string{"attempted", "refused"} {
		if e := events[len(events)-2+i]; e.Kind != audit.KindConfig || e.Reason != reason || e.Actor != signal || e.Detail["version"] != "1.2.3" {
			t.Errorf("event %d is %+v", i, e)
		}
	}
	text := events[len(events)-1].Detail["error"]
	if len(text) > 2100 || len(text) < 1000 || !utf8.ValidString(text) || !strings.HasPrefix(text, "ää") {
		t.Errorf("the faults are recorded with %d bytes: %.20q…", len(text), text)
	}
}

func TestReload_NeedsServer(t *testing.T) {
	w := newWorld(t)
	a := admin.New(admin.Parts{Audit: w.log})
	if err := a.Reload(t.Context(), ada); !errors.Is(err, admin.ErrNoServer) {
		t.Errorf("without a server the error is %v", err)
	}
	if n := len(w.events()); n != 0 {
		t.Errorf("%d events are recorded", n)
	}
}
