package admin_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"sallyport/access"
	"sallyport/admin"
	"sallyport/policy"
)

// fixRules makes an Admin whose rules are compiled once, as those of a server are, with changes of its parts.
func (w *world) fixRules(changes ...func(*admin.Parts)) admin.Rules {
	rules, parts := w.rules(), w.parts()
	rules.Target = func(method, url string) (access.Target, error) {
		return access.Target{Route: rules.Routes[0], Method: method, Host: rules.Routes[0].Host, Path: "/", Decide: rules.Routes[0].Policy.Decide}, nil
	}
	parts.Rules = func() admin.Rules { return rules }
	for _, change := range changes {
		change(&parts)
	}
	w.Admin = admin.New(parts)
	return rules
}

// counts returns how many people reach each route, as soon as that is known.
func (w *world) counts() (counts []admin.RouteCount, state admin.Computed) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		if counts, state = w.RouteCounts(w.t.Context(), ada); !state.Renewing || time.Now().After(deadline) {
			return counts, state
		}
	}
}

// TestRouteCounts_FollowTheDirectory: a push and a suspension count at once; nothing that changed counts nothing again.
func TestRouteCounts_FollowTheDirectory(t *testing.T) {
	w := newWorld(t)
	w.policies = []policy.Named{{Name: "all", Rules: []policy.Rule{{Allow: &policy.Match{Users: []string{"eve@example.com", "bob@example.com"}}}}}}
	w.fixRules()
	w.createUser("bob@example.com")
	counts, _ := w.counts()
	if counts[0].Reach.Users != 1 {
		t.Errorf("%+v", counts)
	}
	eve := w.createUser("eve@example.com")
	first, state := w.counts()
	if first[0].Reach.Users != 2 {
		t.Errorf("after a push: %+v", first)
	}
	if _, again := w.counts(); !again.At.Equal(state.At) {
		t.Error("it was counted again although nothing changed")
	}
	_, err := w.Suspend(t.Context(), ada, eve, "left")
	must(t, err)
	if counts, _ = w.counts(); counts[0].Reach.Users != 1 {
		t.Errorf("after a suspension: %+v", counts)
	}
}

// TestReplay_EndsInTime: a record that takes too long to read is read in part, and the result says how far.
func TestReplay_EndsInTime(t *testing.T) {
	w := newWorld(t)
	w.policies = []policy.Named{{Name: "all", Rules: []policy.Rule{{Allow: &policy.Match{Users: []string{"bob@example.com"}}}}}}
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	decisions := func(_ context.Context, _ admin.RecordQuery, add func(access.Recorded) error) (admin.RecordRead, error) {
		for i := range 1_000_000 {
			if i == 1000 {
				stop()
			}
			if err := add(access.Recorded{Time: begin.Add(time.Duration(i) * time.Second), Name: fmt.Sprint("u", i), Host: "app.example.com", Path: fmt.Sprint("/", i), Method: "GET", Allow: true, Reason: "rule_allow", Rule: "all[0]"}); err != nil {
				return admin.RecordRead{Begins: begin}, err
			}
		}
		return admin.RecordRead{Begins: begin}, errors.New("the reading did not end")
	}
	rules := w.fixRules(func(p *admin.Parts) { p.Decisions = decisions })
	got, err := w.Replay(ctx, ada, rules, admin.RecordQuery{}, 10)
	if err != nil || got.Until.IsZero() || got.Decisions < 1000 || got.Decisions > 2000 || len(got.Flips) != 10 || got.More != got.Decisions-10 {
		t.Errorf("%v: %d decisions until %s, %d flips and %d more", err, got.Decisions, got.Until, len(got.Flips), got.More)
	}
}

// TestConfiguration_SaysWhoReloaded: the actor of the last reload, and of the one that failed after it.
func TestConfiguration_SaysWhoReloaded(t *testing.T) {
	w := newWorld(t)
	failing := false
	w.fixRules(func(p *admin.Parts) {
		p.Configuration = func(context.Context) (admin.Configuration, error) {
			if failing {
				return admin.Configuration{Refused: new(admin.Refused)}, nil
			}
			return admin.Configuration{}, nil
		}
	})
	got, err := w.Configuration(t.Context(), ada)
	must(t, err)
	if got.By.Name != "start" {
		t.Errorf("%+v", got)
	}
	must(t, w.Reload(t.Context(), ada))
	w.reload, failing = func(context.Context) error { return errors.New("a fault") }, true
	if w.Reload(t.Context(), admin.System("changed file")) == nil {
		t.Fatal("the reload did not fail")
	}
	if got, err = w.Configuration(t.Context(), ada); err != nil || got.By != ada || got.Refused == nil || got.Refused.By.Name != "changed file" {
		t.Errorf("%+v %v", got, err)
	}
}
