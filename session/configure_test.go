package session_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sallyport/session"
)

// TestConfigure_HoldsForFormerSessions changes how long sessions last while some are live: each is judged by what is in
// force, and none lasts longer than it was promised when it began.
func TestConfigure_HoldsForFormerSessions(t *testing.T) {
	began := session.Settings{Lifetime: 10 * time.Hour, Idle: time.Hour, MaxSessions: 50}
	for name, c := range map[string]struct {
		used     time.Duration // how long the session is used for before the change
		idle     time.Duration // how long it is not used after that
		settings session.Settings
		want     error
		expires  time.Duration // since it began
	}{
		"shorter_lifetime_not_over": {3 * time.Hour, 0, session.Settings{Lifetime: 4 * time.Hour, Idle: time.Hour}, nil, 4 * time.Hour},
		"shorter_lifetime_over":     {4 * time.Hour, 0, session.Settings{Lifetime: 4 * time.Hour, Idle: time.Hour}, session.ErrExpired, 0},
		"longer_lifetime":           {3 * time.Hour, 0, session.Settings{Lifetime: 20 * time.Hour, Idle: time.Hour}, nil, 10 * time.Hour},
		"shorter_idle_not_over":     {0, 29 * time.Minute, session.Settings{Lifetime: 10 * time.Hour, Idle: 30 * time.Minute}, nil, 10 * time.Hour},
		"shorter_idle_over":         {0, 30 * time.Minute, session.Settings{Lifetime: 10 * time.Hour, Idle: 30 * time.Minute}, session.ErrExpired, 0},
		"longer_idle":               {0, 59 * time.Minute, session.Settings{Lifetime: 10 * time.Hour, Idle: 2 * time.Hour}, nil, 10 * time.Hour},
		"longer_idle_too_late":      {0, 61 * time.Minute, session.Settings{Lifetime: 10 * time.Hour, Idle: 2 * time.Hour}, session.ErrExpired, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t, began, "")
				begun := h.begin("u1")
				cookie := h.newToken(begun.ID, app)
				for end := time.Now().Add(c.used); time.Now().Before(end); {
					time.Sleep(30 * time.Minute)
					h.wantRead(cookie, app, nil)
				}
				time.Sleep(c.idle)
				h.Configure(c.settings, "")
				live, err := h.Live(begun.ID)
				if !errors.Is(err, c.want) || err == nil && !live.Expires.Equal(begun.Began.Add(c.expires)) {
					t.Errorf("Live: %v, %+v", err, live)
				}
				h.wantRead(cookie, app, c.want)
				if n := len(h.List()); (n == 1) != (c.want == nil) {
					t.Errorf("%d sessions are listed", n)
				}
				if c.want != nil { // it stays ended
					time.Sleep(6 * time.Second)
					synctest.Wait()
					h.Configure(session.Settings{Lifetime: 20 * time.Hour, Idle: 19 * time.Hour}, "")
					h.wantRead(cookie, app, c.want)
				}
				h.stop()
			})
		})
	}
}

// TestConfigure_TellsOfSessionsThatExpire: whoever waits for changes learns within seconds when a shorter lifetime is over.
func TestConfigure_TellsOfSessionsThatExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, session.Settings{Lifetime: 10 * time.Hour, Idle: 10 * time.Hour}, "")
		begun := h.begin("u1")
		h.Configure(session.Settings{Lifetime: time.Hour, Idle: time.Hour}, "")
		changed, before := h.Changed(), time.Now()
		<-changed
		if waited := time.Since(before); waited < time.Hour-time.Second || waited > time.Hour+6*time.Second {
			t.Errorf("Changed is closed after %s", waited)
		}
		if _, err := h.Live(begun.ID); !errors.Is(err, session.ErrExpired) {
			t.Errorf("Live: %v", err)
		}
		h.stop()
	})
}

// TestConfigure_BoundsSessionsOfAUser lowers the number: the oldest end when the user signs in again.
func TestConfigure_BoundsSessionsOfAUser(t *testing.T) {
	h := open(t, session.Defaults(), "")
	for range 5 {
		h.begin("u1")
	}
	h.Configure(session.Settings{MaxSessions: 2}, "")
	newest := h.begin("u1")
	list := h.List()
	if len(list) != 2 || list[0].ID != newest.ID && list[1].ID != newest.ID {
		t.Errorf("%d sessions are live", len(list))
	}
}

// TestConfigure_EndsSessionsOfAnotherBasis: sessions count as ended while sign-ins stand on another basis than theirs, on
// every way on which a session is found. Those without one are of the first.
func TestConfigure_EndsSessionsOfAnotherBasis(t *testing.T) {
	ctx := t.Context()
	h := open(t, session.Defaults(), "")
	former := h.begin("u1")
	h.Configure(session.Defaults(), "first")
	first, err := h.Begin(ctx, session.Session{User: "u2", Basis: "first"})
	if err != nil {
		t.Fatal(err)
	}
	emergency, err := h.BeginBreakGlass(ctx, session.Session{User: "u3"}, "the provider is down", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	cookie, ticket := h.newToken(first.ID, app), h.ticket(first.ID, app, "mine")
	check := func(h *testSessions, when string, s session.Session, want error) {
		t.Helper()
		if _, err := h.Live(s.ID); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s, the session of %s: %v, want %v", when, s.User, err, want)
		}
	}
	check(h, "at first", former, nil)
	check(h, "at first", first, nil)

	h.Configure(session.Defaults(), "second")
	second, err := h.Begin(ctx, session.Session{User: "u2", Basis: "second"})
	if err != nil {
		t.Fatal(err)
	}
	check(h, "by the second", former, session.ErrEnded)
	check(h, "by the second", first, session.ErrEnded)
	check(h, "by the second", second, nil)
	check(h, "by the second", emergency, nil)
	h.wantRead(cookie, app, session.ErrEnded)
	if _, _, err := h.Redeem(ctx, ticket, app, "mine"); !errors.Is(err, session.ErrEnded) {
		t.Errorf("a ticket is redeemed: %v", err)
	}
	if _, err := h.NewToken(ctx, first.ID, app); !errors.Is(err, session.ErrEnded) {
		t.Errorf("a token is made: %v", err)
	}
	if n := len(h.List()); n != 2 {
		t.Errorf("%d sessions are listed", n)
	}
	if n, err := h.EndUser(ctx, "u2", session.ReasonOperator); n != 2 || err != nil {
		t.Errorf("%d sessions of the user are ended, %v", n, err)
	}

	again := h.restart(session.Defaults())
	again.Configure(session.Defaults(), "second")
	check(again, "after a restart by the second", first, session.ErrEnded)
	check(again, "after a restart by the second", emergency, nil)
}

// TestConfigure_EndsForGood: a session whose basis was not in force for a while stays ended when it is in force again, since
// nobody was told meanwhile of what the provider ended.
func TestConfigure_EndsForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		h.Configure(session.Defaults(), "first")
		begun, err := h.Begin(t.Context(), session.Session{User: "u1", Basis: "first"})
		if err != nil {
			t.Fatal(err)
		}
		h.Configure(session.Defaults(), "second")
		time.Sleep(6 * time.Second)
		synctest.Wait()
		h.Configure(session.Defaults(), "first")
		if _, err := h.Live(begun.ID); !errors.Is(err, session.ErrEnded) {
			t.Errorf("Live: %v", err)
		}
		if n := testutil.ToFloat64(h.Collectors()[1].(*prometheus.CounterVec).WithLabelValues("settings")); n != 1 {
			t.Errorf("%v sessions are counted", n)
		}
		h.stop()
	})
}
