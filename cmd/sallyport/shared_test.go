package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/grant"
	"sallyport/scim"
	"sallyport/session"
	"sallyport/store/postgres"
	"sallyport/store/postgres/postgrestest"
)

// half is one of two replicas within the process of a test: what it has in memory of one real database.
type half struct {
	sessions *session.Sessions
	grants   *grant.Grants
	codes    *grant.BreakGlass
}

// newHalves returns two replicas, which run until the test ends.
func newHalves(t *testing.T, settings session.Settings) (halves [2]half) {
	t.Helper()
	database := postgrestest.Start(t).Database()
	dir := t.TempDir()
	writeFile(t, dir, "url", []byte(database))
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var stores []*postgres.Store
	t.Cleanup(func() {
		stop()
		running.Wait()
		for _, st := range stores {
			_ = st.Close()
		}
	})
	for i := range halves {
		st, err := postgres.Open(t.Context(), postgres.Options{URLFile: dir + "/url", Init: true, Replica: fmt.Sprintf("replica-%d", i+1)})
		if err != nil {
			t.Fatal(err)
		}
		stores = append(stores, st)
		h := &halves[i]
		if h.sessions, err = session.Open(t.Context(), st, settings, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		if h.grants, err = grant.Open(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		h.codes = grant.NewBreakGlass(h.grants)
		running.Go(func() { _ = st.Run(ctx) })
		running.Go(func() { _ = h.sessions.Run(ctx) })
		running.Go(func() { _ = h.grants.Run(ctx) })
	}
	for _, h := range halves {
		for deadline := time.Now().Add(30 * time.Second); h.grants.Fresh() != nil; {
			if time.Now().After(deadline) {
				t.Fatal(h.grants.Fresh())
			}
			<-h.grants.Changed()
		}
		_, err := h.sessions.Begin(t.Context(), session.Session{User: "warm"})
		if err != nil {
			t.Fatal(err)
		}
	}
	return halves
}

// both calls f for each of two replicas at the same moment.
func both(halves [2]half, f func(i int, h half)) {
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i, h := range halves {
		all.Go(func() { <-begin; f(i, h) })
	}
	close(begin)
	all.Wait()
}

// TestReplicas_KnowSessionsAtOnce begins sessions on one replica and uses them on the other at once: their cookies, and
// tickets that one makes and the other redeems. What one ends is over on the other once it has caught up.
func TestReplicas_KnowSessionsAtOnce(t *testing.T) {
	t.Parallel()
	halves := newHalves(t, session.Settings{})
	trials(t, 100, func(c *trial) {
		for range 10 {
			one, other := halves[c.IntN(2)].sessions, halves[c.IntN(2)].sessions
			s, err := one.Begin(c.Context(), session.Session{User: "ada"})
			if err != nil {
				c.Fatal(err)
			}
			token, err := one.NewToken(c.Context(), s.ID, "login.test")
			if err != nil {
				c.Fatal(err)
			}
			if found, err := other.Find(c.Context(), token, "login.test"); err != nil || found.ID != s.ID {
				c.Fatalf("the cookie of a session that just began: %v", err)
			}
			ticket, err := other.Ticket(c.Context(), s.ID, "app.test", "bind")
			if err != nil {
				c.Fatal(err)
			}
			token, live, err := one.Redeem(c.Context(), ticket, "app.test", "bind")
			if err != nil || live.ID != s.ID {
				c.Fatalf("a ticket of the other replica: %v", err)
			}
			if _, _, err := other.Redeem(c.Context(), ticket, "app.test", "bind"); !errors.Is(err, session.ErrNone) {
				c.Fatalf("the same ticket again: %v", err)
			}
			if err := one.End(c.Context(), s.ID, session.ReasonLogout); err != nil {
				c.Fatal(err)
			}
			if err := other.CatchUp(c.Context()); err != nil {
				c.Fatal(err)
			}
			if _, err := other.Find(c.Context(), token, "app.test"); !errors.Is(err, session.ErrEnded) {
				c.Fatalf("the cookie of a session that ended: %v", err)
			}
			c.count("known at once")
		}
	})
}

// TestReplicas_UseThingsOnce has two replicas use what is used once, at the same moment: one of them gets it.
func TestReplicas_UseThingsOnce(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	halves := newHalves(t, session.Settings{})
	trials(t, 20, func(c *trial) {
		var used, acted, tickets, forms, requests atomic.Int32
		code, _, err := halves[0].codes.Arm(grant.Arming{User: "ada", Epoch: 1, By: "op", Reason: "down"}, time.Hour)
		if err != nil {
			c.Fatal(err)
		}
		s, err := halves[1].sessions.Begin(c.Context(), session.Session{User: "ada"})
		if err != nil {
			c.Fatal(err)
		}
		ticket, err := halves[1].sessions.Ticket(c.Context(), s.ID, "app.test", "bind")
		if err != nil {
			c.Fatal(err)
		}
		name, soon := fmt.Sprint(c.n, c.Uint64()), time.Now().Add(time.Minute)
		both(halves, func(_ int, h half) {
			if a, err := h.codes.Use(code); err == nil && a.User == "ada" {
				used.Add(1)
			} else if !errors.Is(err, grant.ErrCode) {
				c.Error(err)
			}
			if _, _, err := h.sessions.Redeem(c.Context(), ticket, "app.test", "bind"); err == nil {
				tickets.Add(1)
			}
			if first, err := h.sessions.UseForm(c.Context(), "ada", name, soon); err == nil && first {
				forms.Add(1)
			}
			if first, err := h.sessions.UseLogout(c.Context(), name, soon, func(context.Context) error { return nil }); err == nil && first {
				acted.Add(1)
			}
			r := grant.NewRequest(grant.Person{ID: name, Epoch: 1}, time.Now())
			r.Policy = "sre"
			if stored, err := h.grants.Ask(c.Context(), r, func() error { return nil }); err == nil && stored.ID == r.ID {
				requests.Add(1)
			}
		})
		for what, n := range map[string]*atomic.Int32{"break-glass code": &used, "ticket": &tickets, "form": &forms, "logout token": &acted, "request": &requests} {
			if n.Load() != 1 {
				c.Errorf("the %s is used %d times", what, n.Load())
			}
		}
	})
}

func TestReplicas_ShareBreakGlassCodes(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	halves := newHalves(t, session.Settings{})
	first, second := halves[0].codes, halves[1].codes
	code, armed, err := first.Arm(grant.Arming{User: "ada", UserName: "ada@example.com", Epoch: 3, By: "op", Reason: "down"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if found, _, err := second.Find(strings.ToLower(code)); err != nil || found != armed {
		t.Errorf("found %+v, %v; armed %+v", found, err, armed)
	}
	if _, wrong, err := second.Find("wrong"); !errors.Is(err, grant.ErrCode) || wrong != 1 {
		t.Errorf("a wrong code: %d, %v", wrong, err)
	}
	again, _, err := second.Arm(grant.Arming{User: "ada", Epoch: 3, By: "op", Reason: "down"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := first.Find(code); !errors.Is(err, grant.ErrCode) {
		t.Errorf("the former code: %v", err)
	}
	if had, err := first.Disarm("ada"); !had || err != nil {
		t.Errorf("disarming: %v, %v", had, err)
	}
	if had, err := second.Disarm("ada"); had || err != nil {
		t.Errorf("disarming again: %v, %v", had, err)
	}
	if _, err := second.Use(again); !errors.Is(err, grant.ErrCode) || first.Armed() || first.Has("ada") {
		t.Errorf("a code that is disarmed: %v", err)
	}
	past, _, err := first.Arm(grant.Arming{User: "bob", Epoch: 1, By: "op", Reason: "down"}, -time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Use(past); !errors.Is(err, grant.ErrCode) || first.Armed() {
		t.Errorf("a code that has expired: %v", err)
	}
}

// TestReplicas_HoldDeactivationsTogether deactivates 30 users on each of two replicas at the same time, with a limit of 50:
// the rest is held, whichever replica received it.
func TestReplicas_HoldDeactivationsTogether(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	f := newFleet(t, 2)
	limit := scim.Defaults().MaxDeactivations.Count
	var ids [60]string
	for i := range ids {
		ids[i] = f.push.hire(fmt.Sprintf("u%d", i), fmt.Sprintf("61503835-0000-0000-0000-%012d", i+100))
	}
	pushers := []*pusher{f.pusher(f.replicas[0]), f.pusher(f.replicas[1])}
	var done, held atomic.Int32
	var all sync.WaitGroup
	for i, id := range ids {
		all.Go(func() {
			switch status, body, err := pushers[i%2].try("PATCH", "/Users/"+id, patchOf(map[string]any{"op": "Replace", "path": "active", "value": "False"})); {
			case err != nil:
				t.Error(err)
			case status == http.StatusOK:
				done.Add(1)
			case status == http.StatusServiceUnavailable && strings.Contains(fmt.Sprint(body["detail"]), "is held"):
				held.Add(1)
			default:
				t.Errorf("a deactivation gets %d: %v", status, body)
			}
		})
	}
	all.Wait()
	if int(done.Load()) != limit || int(held.Load()) != len(ids)-limit {
		t.Errorf("%d are deactivated and %d held", done.Load(), held.Load())
	}
	if list := f.replicas[1].verb("scim", "held", "list"); strings.Count(list, "@example.com") != len(ids)-limit {
		t.Errorf("the second replica lists\n%s", list)
	}
	if out := f.replicas[0].verb("scim", "held", "release"); !strings.Contains(out, fmt.Sprint(len(ids)-limit, " released")) {
		t.Errorf("the release says %q", out)
	}
}

// TestReplicas_StaleReplicaDeniesEverything cuts a replica off for longer than its lease: everything gets 503, live requests are
// cut with the reason in the record, and /readyz says why. The replica recovers by itself.
func TestReplicas_StaleReplicaDeniesEverything(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	f, cables := newCables(t, 2)
	stale := f.at(f.replicas[1])
	push := f.pusher(f.replicas[1])
	live := stale.openAll(t)
	cables[1].cut()
	deadline := time.After(30 * time.Second)
	for _, l := range live {
		select {
		case <-l.ended:
		case <-deadline:
			t.Fatalf("the %s is not cut", l.name)
		}
	}
	resp := stale.browser.get("https://"+appHost+"/", "")
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "directory_stale") || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a request gets %d, Retry-After %q: %s", resp.StatusCode, resp.Header.Get("Retry-After"), body)
	}
	for method, path := range map[string]string{"GET": "/Users/" + f.alice, "DELETE": "/Users/" + f.alice, "PATCH": "/Users/" + f.alice} {
		if status, body, err := push.try(method, path, patchOf()); err != nil || status != http.StatusServiceUnavailable {
			t.Errorf("SCIM %s gets %d, %v, %v", method, status, body, err)
		}
	}
	if status, text := f.replicas[1].readiness(t); status != http.StatusServiceUnavailable || !strings.Contains(text, "not ready") || !strings.Contains(text, "the database confirmed") {
		t.Errorf("/readyz says %d %s", status, text)
	}
	eventually(t, "the cuts are recorded", func() bool { return len(f.replicas[1].recorded(t, audit.KindCut)) >= len(live) })
	if cuts := f.replicas[1].recorded(t, audit.KindCut); len(cuts) != len(live) || cuts[0].Reason != "directory_stale" {
		t.Errorf("the record has the cuts %+v", cuts)
	}
	cables[1].mend()
	f.replicas[1].awaitReady(t)
	if status := stale.browser.fetch("/"); status != http.StatusOK {
		t.Errorf("after it is back, a request gets %d", status)
	}
	if status, _, err := push.try("GET", "/Users/"+f.alice, nil); err != nil || status != http.StatusOK {
		t.Errorf("after it is back, SCIM gets %d, %v", status, err)
	}
}
