package proxy

import (
	"io"
	"net/http"
	"testing"
	"time"

	"sallyport/policy"
	"sallyport/session"
)

// TestCut_LoginTooOld checks that a stream is cut when its login becomes older than a rule allows.
func TestCut_LoginTooOld(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, func(s *Settings) {
		for i := range s.Policies {
			for j := range s.Policies[i].Rules {
				if m := s.Policies[i].Rules[j].Allow; m != nil && !m.Anyone {
					recent := *m
					recent.MaxAuthAge = time.Minute
					s.Policies[i].Rules[j] = policy.Rule{Allow: &recent}
				}
			}
		}
	})
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, "line\n")
		rw.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	u := w.user("alice")
	begin := func(s session.Session) string {
		s.User, s.Epoch, s.UserName = u.ID, u.Epoch, u.UserName
		started, err := w.sessions.Begin(w.ctx, s)
		w.must(err)
		token, err := w.sessions.NewToken(w.ctx, started.ID, appHost)
		w.must(err)
		return session.CookieName + "=" + token
	}
	send := func(cookie string) *http.Response {
		req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, "https://"+appHost+"/", nil)
		w.must(err)
		req.Header.Set("Cookie", cookie)
		resp, err := w.client(false).Do(req)
		w.must(err)
		return resp
	}
	for name, s := range map[string]session.Session{"login at an unknown time": {Authenticated: time.Now()}, "login an hour ago": {Authenticated: time.Now().Add(-time.Hour), Proven: true}} {
		if resp := send(begin(s)); resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") !=
			`Bearer realm="sallyport", error="insufficient_user_authentication", error_description="This asks for a more recent sign-in than yours. Sign in again to go on.", max_age=60` {
			t.Errorf("%s: %d %q", name, resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
		}
	}
	for left := time.Second; ; left *= 2 { // on a busy machine, a login may be too old before its request arrives
		until := time.Now().Add(left)
		resp := send(begin(session.Session{Authenticated: until.Add(-time.Minute), Proven: true}))
		if resp.StatusCode != http.StatusOK {
			if time.Now().Before(until) {
				t.Fatalf("a recent login: %d", resp.StatusCode)
			}
			continue
		}
		if _, err := io.Copy(io.Discard, resp.Body); err == nil || time.Now().Before(until) { // until the stream is cut
			t.Errorf("the stream ended with %v, %s too early", err, time.Until(until))
		}
		break
	}
	w.eventually("the cut is counted", func() bool { // the counter follows the cut
		return w.metric("sallyport_cuts_total", "route", "app", "reason", string(loginTooOld)) >= 1
	})
}

// TestCut_LoginTooWeak checks that streams are cut when a reload makes their rule demand a stronger login than theirs, and
// that others go on.
func TestCut_LoginTooWeak(t *testing.T) {
	w := newWorld(t, nil)
	w.serveEvents()
	u := w.user("alice")
	open := func(s session.Session) *stream {
		s.User, s.Epoch, s.UserName = u.ID, u.Epoch, u.UserName
		started, err := w.sessions.Begin(w.ctx, s)
		w.must(err)
		token, err := w.sessions.NewToken(w.ctx, started.ID, appHost)
		w.must(err)
		return openEvents(w, w.client(true), "https://"+appHost, "Cookie", session.CookieName+"="+token)
	}
	weak, strong := open(session.Session{}), open(session.Session{AMR: []string{"pwd", "mfa"}})
	next := w.settings
	next.Policies = []policy.Named{{Name: "staff", Rules: []policy.Rule{{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: staff}}, Auth: &policy.Login{AMR: []string{"mfa"}}}}}}, w.settings.Policies[1]}
	w.must(w.proxy.Load(next))
	await(t, "the stream with a weak login ends", weak.done)
	w.eventually("the cut is counted", func() bool {
		return w.metric("sallyport_cuts_total", "route", "app", "reason", string(loginTooWeak)) == 1
	})
	select {
	case <-strong.done:
		t.Error("a stream with a strong login was cut too")
	default:
	}
}
