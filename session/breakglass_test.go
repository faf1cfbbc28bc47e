package session_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sallyport/session"
)

// breakGlassSessions returns the metric.
func breakGlassSessions(t *testing.T, s *session.Sessions) float64 {
	t.Helper()
	for _, c := range s.Collectors() {
		ch := make(chan *prometheus.Desc, 10)
		c.Describe(ch)
		if strings.Contains((<-ch).String(), `"sallyport_breakglass_sessions"`) {
			return testutil.ToFloat64(c)
		}
	}
	t.Fatal("there is no such metric")
	return 0
}

// TestBreakGlass_HasNoLogin checks that a break-glass session has nothing that only a login at the provider gives, and that
// no login begins one.
func TestBreakGlass_HasNoLogin(t *testing.T) {
	h := open(t, session.Defaults(), "")
	defer func() { h.stop() }()
	claimed := session.Session{User: "u1", Epoch: 2, UserName: "ada@example.com", Subject: "sub", ProviderSession: "sid", Address: "203.0.113.7", Agent: "browser",
		Authenticated: time.Now().Add(-time.Minute), Proven: true, ACR: "c1", AMR: []string{"mfa"}, Contexts: []string{"c1"}, IDToken: "secret"}
	s, err := h.BeginBreakGlass(t.Context(), claimed, "the provider is down", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if !s.IsBreakGlass() || s.Proven || s.ACR != "" || s.AMR != nil || s.Contexts != nil || s.Subject != "" || s.ProviderSession != "" || !s.Authenticated.IsZero() || h.IDToken(t.Context(), s.ID) != "" {
		t.Errorf("%+v", s)
	}
	if s.User != "u1" || s.Epoch != 2 || s.UserName != "ada@example.com" || s.Address != "203.0.113.7" || s.Agent != "browser" {
		t.Errorf("%+v", s)
	}
	claimed.BreakGlass = "claimed"
	login, err := h.Begin(t.Context(), claimed)
	if err != nil || login.IsBreakGlass() {
		t.Errorf("%+v, %v", login, err)
	}
	if (*session.Session)(nil).IsBreakGlass() {
		t.Error("no session is a break-glass session")
	}
	if n := breakGlassSessions(t, h.Sessions); n != 1 {
		t.Errorf("%v break-glass sessions", n)
	}
	h = h.restart(session.Defaults())
	if live, err := h.Live(s.ID); err != nil || live.BreakGlass != "the provider is down" || !live.Expires.Equal(s.Expires) {
		t.Errorf("after a restart: %+v, %v", live, err)
	}
	if _, err := h.EndUser(t.Context(), "u1", session.ReasonUser); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Live(s.ID); !errors.Is(err, session.ErrEnded) || breakGlassSessions(t, h.Sessions) != 0 {
		t.Errorf("after its user ended: %v, %v sessions", err, breakGlassSessions(t, h.Sessions))
	}
}

// TestBreakGlass_EndsHoweverItIsUsed checks that use does not renew the session.
func TestBreakGlass_EndsHoweverItIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, session.Settings{Lifetime: 3 * time.Hour, Idle: time.Hour}, "")
		defer h.stop()
		begin := func(lasting time.Duration) (id, cookie string) {
			t.Helper()
			s, err := h.BeginBreakGlass(t.Context(), session.Session{User: "u1"}, "drill", time.Now().Add(lasting))
			if err != nil {
				t.Fatal(err)
			}
			return s.ID, h.newToken(s.ID, app)
		}
		_, short := begin(30 * time.Minute)
		long, _ := begin(12 * time.Hour)
		if s, err := h.Live(long); err != nil || time.Until(s.Expires) != 3*time.Hour {
			t.Errorf("it outlives the lifetime of sessions: %+v, %v", s, err)
		}
		for range 29 {
			time.Sleep(time.Minute)
			h.wantRead(short, app, nil)
		}
		time.Sleep(time.Minute)
		h.wantRead(short, app, session.ErrExpired)
		for _, lasting := range []time.Duration{0, -time.Second} {
			if _, err := h.BeginBreakGlass(t.Context(), session.Session{User: "u1"}, "drill", time.Now().Add(lasting)); err == nil {
				t.Errorf("a session of %v begins", lasting)
			}
		}
		if _, err := h.BeginBreakGlass(t.Context(), session.Session{User: "u1"}, "", time.Now().Add(time.Hour)); err == nil {
			t.Error("a session without a reason begins")
		}
	})
}
