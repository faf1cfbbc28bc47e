package proxy

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/entratest"
	"sallyport/session"
)

// event returns the newest event of a kind, once there are n.
func (w *world) event(kind audit.Kind, n int) (e audit.Event) {
	w.t.Helper()
	w.eventually("the event is recorded", func() bool { return len(w.events(kind)) >= n })
	w.must(json.Unmarshal([]byte(w.events(kind)[n-1]), &e))
	return e
}

// detailTime returns a time in the detail of an event.
func (w *world) detailTime(e audit.Event, name string) time.Time {
	w.t.Helper()
	at, err := time.Parse(time.RFC3339Nano, e.Detail[name])
	w.must(err)
	return at
}

// push changes the directory as a push does that arrived at a time.
func (w *world) push(received time.Time, f func(*directory.Tx) error) {
	w.t.Helper()
	w.update(func(tx *directory.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		return tx.Record(directory.Record{Received: received, Event: []byte("{}")})
	})
}

// TestCut_RecordsTimesAndCause: the event of a cut has the times of the request, of the push and of the cut, and names
// the person even if the push deleted them.
func TestCut_RecordsTimesAndCause(t *testing.T) {
	changeOf := func(w *world, f func(*directory.Tx, *directory.User) error) func(*directory.Tx) error {
		id := w.user("alice").ID
		return func(tx *directory.Tx) error {
			u, err := tx.User(id)
			if err != nil {
				return err
			}
			return f(tx, &u)
		}
	}
	for name, tt := range map[string]struct {
		token  bool
		change func(*directory.Tx, *directory.User) error
		reason Reason
	}{
		"deactivated": {false, func(tx *directory.Tx, u *directory.User) error { u.Active = false; return tx.PutUser(u) }, inactiveUser},
		"deleted":     {false, func(tx *directory.Tx, u *directory.User) error { return tx.DeleteUser(u.ID) }, unknownUser},
		"left_group": {false, func(tx *directory.Tx, u *directory.User) error {
			g, err := tx.GroupByExternalID(staff)
			if err == nil {
				_, err = tx.RemoveMembers(g.ID, []string{u.ID})
			}
			return err
		}, noRule},
		"deleted_group": {false, func(tx *directory.Tx, _ *directory.User) error {
			g, err := tx.GroupByExternalID(staff)
			if err == nil {
				err = tx.DeleteGroup(g.ID)
			}
			return err
		}, noRule},
		"token_deleted": {true, func(tx *directory.Tx, u *directory.User) error { return tx.DeleteUser(u.ID) }, unknownUser},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			reached, _ := w.serveStreams()
			alice := w.user("alice")
			_, cookie := w.signIn("alice", appHost)
			header, value := "Cookie", cookie
			if tt.token {
				header, value = "Authorization", "Bearer "+w.token("alice", nil)
			}
			before := time.Now()
			s := streamKinds[0].open(w, w.client(false), "https://"+appHost, header, value)
			await(t, "the upstream is reached", reached)
			begun := time.Now()
			w.push(begun.Add(-time.Hour), func(tx *directory.Tx) error { // of somebody else
				u, err := tx.UserByName("bob@example.com")
				if err == nil {
					u.Document = []byte(`{"displayName":"Robert"}`)
					err = tx.PutUser(&u)
				}
				return err
			})
			received := time.Now().UTC()
			w.push(received, changeOf(w, tt.change))
			await(t, "the client sees the end", s.done)
			e := w.event(audit.KindCut, 1)
			done := time.Now()
			if e.Reason != string(tt.reason) || e.User != alice.ID || e.UserName != alice.UserName {
				t.Errorf("recorded: %s of %s (%s)", e.Reason, e.User, e.UserName)
			}
			if at := w.detailTime(e, "begun"); at.Before(before.UTC()) || at.After(begun) {
				t.Errorf("the request began at %s, and not between %s and %s", at, before.UTC(), begun.UTC())
			}
			if at := w.detailTime(e, "received"); !at.Equal(received) {
				t.Errorf("the push arrived at %s, and not at %s", at, received)
			}
			if e.Time.Before(received) || e.Time.After(done) {
				t.Errorf("cut at %s, and not between %s and %s", e.Time, received, done.UTC())
			}
			if e.Detail["change"] == "" {
				t.Error("the revision of the push is missing")
			}
		})
	}
}

// TestCut_WithoutPushNamesNone: what ended the request was no push, though one about its user came as well.
func TestCut_WithoutPushNamesNone(t *testing.T) {
	for name, end := range map[string]func(*world, session.Session){
		"suspended": func(w *world, s session.Session) {
			w.update(func(tx *directory.Tx) error { return tx.Suspend(s.User, "because") })
		},
		"signed_out": func(w *world, s session.Session) { w.must(w.sessions.End(w.ctx, s.ID, session.ReasonLogout)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			reached, _ := w.serveStreams()
			started, cookie := w.signIn("alice", appHost)
			s := streamKinds[0].open(w, w.client(false), "https://"+appHost, "Cookie", cookie)
			await(t, "the upstream is reached", reached)
			w.push(time.Now().UTC(), func(tx *directory.Tx) error {
				u, err := tx.User(started.User)
				if err == nil {
					u.Document = []byte(`{"displayName":"Alicia"}`)
					err = tx.PutUser(&u)
				}
				return err
			})
			end(w, started)
			await(t, "the client sees the end", s.done)
			e := w.event(audit.KindCut, 1)
			if e.Detail["received"] != "" || e.Detail["change"] != "" || e.Detail["begun"] == "" {
				t.Errorf("recorded: %v", e.Detail)
			}
		})
	}
}

// TestDecision_UnknownUserTellsWhatWasLookedFor: the event names the claim, its value and the attribute of the directory
// that it was compared with, so that whoever set up the wrong ones sees it.
func TestDecision_UnknownUserTellsWhatWasLookedFor(t *testing.T) {
	w := newWorld(t, nil)
	stranger := w.tenant.Add(entratest.Person{UPN: "carol@example.com", Name: "Carol"})
	check := func(e audit.Event) {
		t.Helper()
		if e.Reason != string(unknownUser) || e.Detail["claim"] != "oid" || e.Detail["value"] != stranger.OID || e.Detail["attribute"] != "externalId" {
			t.Errorf("recorded: %+v", e)
		}
	}
	w.token("alice", nil) // once the provider is known
	res, _ := w.get(w.client(false), "https://"+apiHost+"/v1", "Authorization", "Bearer "+w.tenant.AccessToken(stranger, audience, nil))
	if res.StatusCode != http.StatusForbidden {
		t.Fatal(res.StatusCode)
	}
	check(w.event(audit.KindDecision, 1))

	// A known user has no such detail.
	w.get(w.client(false), "https://"+apiHost+"/v1", "Authorization", "Bearer "+w.token("alice", nil))
	if e := w.event(audit.KindDecision, 2); e.Detail["value"] != "" {
		t.Errorf("recorded of alice: %v", e.Detail)
	}
}

// TestDecision_UnknownUserIsBounded: a value that the provider makes long, or fills with control characters, is cut and
// cleaned.
func TestDecision_UnknownUserIsBounded(t *testing.T) {
	w := newWorld(t, nil)
	stranger := w.tenant.Add(entratest.Person{UPN: "carol@example.com", Name: "Carol"})
	w.token("alice", nil)
	token := w.tenant.AccessToken(stranger, audience, func(c entratest.Claims) { c["oid"] = strings.Repeat("é\x1b", 300) })
	w.get(w.client(false), "https://"+apiHost+"/v1", "Authorization", "Bearer "+token)
	e := w.event(audit.KindDecision, 1)
	if v := e.Detail["value"]; len(v) > 260 || strings.ContainsRune(v, '\x1b') || !strings.HasPrefix(v, "é") {
		t.Errorf("recorded: %q", v)
	}
}
