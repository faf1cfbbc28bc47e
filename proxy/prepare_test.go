package proxy

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"sallyport/oidc"
	"sallyport/session"
)

// providerWith returns the provider in force with other settings.
func (w *world) providerWith(alter func(*oidc.Settings)) *oidc.Provider {
	w.t.Helper()
	s := w.oidc
	alter(&s)
	public, err := url.Parse(w.settings.PublicURL)
	w.must(err)
	p, err := w.proxy.Provider().With(s, public)
	w.must(err)
	w.must(p.Prepare(w.ctx))
	return p
}

// TestPrepare_AsksAgainByTheOtherProvider puts other settings of the identity provider in force while requests are live: those
// whose caller they no longer accept are cut, and no others. Before use is called, nothing changes.
func TestPrepare_AsksAgainByTheOtherProvider(t *testing.T) {
	for name, c := range map[string]struct {
		alter           func(*oidc.Settings)
		session, bearer bool // what is cut
	}{
		"secret":        {func(s *oidc.Settings) { s.Scopes = []string{"openid"} }, false, false},
		"more_audience": {func(s *oidc.Settings) { s.APIAudiences = []string{"api://other", audience} }, false, false},
		"audience":      {func(s *oidc.Settings) { s.APIAudiences = []string{"api://other"} }, false, true},
		"client":        {func(s *oidc.Settings) { s.ClientID = "another" }, true, false},
		"claim":         {func(s *oidc.Settings) { s.UserClaim = "sub" }, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			w.sessions.Configure(session.Defaults(), w.provider.Basis())
			w.serveStreams()
			_, cookie := w.signIn("alice", appHost)
			token := w.token("alice", nil)
			bySession := openEvents(w, w.client(true), "https://"+appHost, "Cookie", cookie)
			w.eventually("it is live", func() bool { return w.metric("sallyport_live_requests") == 1 })
			w.serveStreams() // again, for another stream
			byToken := openEvents(w, w.client(true), "https://"+appHost, "Authorization", "Bearer "+token)
			w.eventually("both are live", func() bool { return w.metric("sallyport_live_requests") == 2 })

			next := w.providerWith(c.alter)
			use, err := w.proxy.Prepare(w.settings, next)
			w.must(err)
			if w.proxy.Provider() == next {
				t.Error("the provider is in force before it is used")
			}
			for range 2 { // the second time, nothing is left to be cut
				w.sessions.Configure(session.Defaults(), next.Basis())
				use()
			}
			for _, s := range []struct {
				name   string
				stream *stream
				cut    bool
			}{{"the session's", bySession, c.session}, {"the token's", byToken, c.bearer}} {
				if s.cut {
					await(t, s.name+" request ends", s.stream.done)
				}
			}
			live := 0.0
			for _, cut := range []bool{c.session, c.bearer} {
				if !cut {
					live++
				}
			}
			w.eventually("the others are live", func() bool { return w.metric("sallyport_live_requests") == live })
			w.setUpstream(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			for credential, cut := range map[[2]string]bool{{"Cookie", cookie}: c.session, {"Authorization", "Bearer " + token}: c.bearer} {
				res, _ := w.get(w.client(true), "https://"+appHost+"/", credential[0], credential[1], "Accept", "application/json")
				if denied := res.StatusCode >= http.StatusBadRequest; denied != cut {
					t.Errorf("the next request with %s gets %d", credential[0], res.StatusCode)
				}
			}
		})
	}
}

// TestLoad_EndsSessionsBeyondTheirTime puts a shorter lifetime in force: the live requests of sessions that are older end when
// Load returns.
func TestLoad_EndsSessionsBeyondTheirTime(t *testing.T) {
	for name, shorter := range map[string]session.Settings{"lifetime": {Lifetime: time.Nanosecond}, "idle": {Idle: time.Nanosecond}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.serveStreams()
			_, cookie := w.signIn("alice", appHost)
			s := openEvents(w, w.client(true), "https://"+appHost, "Cookie", cookie)
			w.eventually("it is live", func() bool { return w.metric("sallyport_live_requests") == 1 })
			w.sessions.Configure(shorter, "")
			w.must(w.proxy.Load(w.settings))
			await(t, "it ends", s.done)
			w.eventually("the cut is counted", func() bool { // which follows the cut, if another review than that of Load made it
				return w.metric("sallyport_cuts_total", "route", "app", "reason", string(sessionExpired)) == 1
			})
		})
	}
}
