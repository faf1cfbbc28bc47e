package proxy

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/entratest"
)

// TestBackchannelLogout_Tokens sends logout tokens, valid and invalid (OpenID Connect Back-Channel Logout 1.0 §2.4 to §2.6), and
// checks whether alice's session ends.
func TestBackchannelLogout_Tokens(t *testing.T) {
	const event = "http://schemas.openid.net/event/backchannel-logout"
	for _, c := range []struct {
		name   string
		change func(entratest.Claims)
		header map[string]any
		status int
		ends   bool
	}{
		{"names_session", func(c entratest.Claims) { delete(c, "sub") }, nil, 200, true},
		{"names_subject", func(c entratest.Claims) { delete(c, "sid") }, nil, 200, true},
		{"names_both", nil, nil, 200, true},
		{"type_JWT", nil, map[string]any{"typ": "JWT"}, 200, true},
		{"another_session", func(c entratest.Claims) { c["sid"] = "another" }, nil, 200, false},
		{"another_subject", func(c entratest.Claims) { c["sub"] = "another" }, nil, 200, false},
		{"issued_before_session", func(c entratest.Claims) { c["iat"] = time.Now().Add(-time.Hour).Unix() }, nil, 200, false},
		{"with_nonce", func(c entratest.Claims) { c["nonce"] = "n" }, nil, 400, false},
		{"no_event", func(c entratest.Claims) { delete(c, "events") }, nil, 400, false},
		{"another_event", func(c entratest.Claims) { c["events"] = map[string]any{"x": map[string]any{}} }, nil, 400, false},
		{"event_not_object", func(c entratest.Claims) { c["events"] = map[string]any{event: true} }, nil, 400, false},
		{"another_audience", func(c entratest.Claims) { c["aud"] = "another" }, nil, 400, false},
		{"another_issuer", func(c entratest.Claims) { c["iss"] = "https://elsewhere.example" }, nil, 400, false},
		{"expired", func(c entratest.Claims) { c["exp"] = 1 }, nil, 400, false},
		{"no_jti", func(c entratest.Claims) { delete(c, "jti") }, nil, 400, false},
		{"names_neither", func(c entratest.Claims) { delete(c, "sid"); delete(c, "sub") }, nil, 400, false},
		{"type_of_access_token", nil, map[string]any{"typ": "at+jwt"}, 400, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.token("alice", nil) // waits until the provider was discovered
			started, cookie := w.signIn("alice", appHost)
			claims := entratest.Claims{"iss": w.tenant.Issuer(), "aud": w.tenant.ClientID(), "tid": w.tenant.ID, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "jti": "j",
				"sub": started.Subject, "sid": started.ProviderSession, "events": map[string]any{event: map[string]any{}}}
			if c.change != nil {
				c.change(claims)
			}
			header := c.header
			if header == nil {
				header = map[string]any{"typ": "logout+jwt"}
			}
			status := w.sendLogoutToken(loginHost, w.tenant.Sign(claims, header))
			if status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			resp, _ := w.get(w.client(false), "https://"+appHost+"/", "Cookie", cookie)
			if ended := resp.StatusCode == http.StatusUnauthorized; ended != c.ends {
				t.Errorf("status %d with the session afterwards", resp.StatusCode)
			}
		})
	}
}

// sendLogoutToken posts a logout token to a host and returns the status.
func (w *world) sendLogoutToken(host, token string) int {
	form := url.Values{"logout_token": {token}}.Encode()
	resp, _ := w.send(w.client(false), http.MethodPost, "https://"+host+"/.sallyport/backchannel-logout", strings.NewReader(form), "Content-Type", "application/x-www-form-urlencoded")
	return resp.StatusCode
}

func TestBackchannelLogout_RejectsOtherForms(t *testing.T) {
	w := newWorld(t, nil)
	w.token("alice", nil) // waits until the provider was discovered
	const path = "/.sallyport/backchannel-logout"
	for name, c := range map[string]struct {
		method, host, body, mediaType string
		want                          int
	}{
		"invalid token":    {"POST", loginHost, "logout_token=x", "application/x-www-form-urlencoded", 400},
		"no form":          {"POST", loginHost, "", "application/x-www-form-urlencoded", 400},
		"two tokens":       {"POST", loginHost, "logout_token=a&logout_token=b", "application/x-www-form-urlencoded", 400},
		"JSON":             {"POST", loginHost, `{"logout_token":"x"}`, "application/json", 400},
		"body too large":   {"POST", loginHost, "logout_token=" + strings.Repeat("x", 1<<20), "application/x-www-form-urlencoded", 400},
		"application host": {"POST", appHost, "logout_token=x", "application/x-www-form-urlencoded", 404},
		"GET":              {"GET", loginHost, "", "", 405},
	} {
		resp, _ := w.send(w.client(false), c.method, "https://"+c.host+path, strings.NewReader(c.body), "Content-Type", c.mediaType)
		if resp.StatusCode != c.want || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d, Cache-Control %q", name, resp.StatusCode, resp.Header.Get("Cache-Control"))
		}
	}
}

// TestBackchannelLogout_RejectsReplays checks that a logout token works once: sent again within the minute by which
// clocks may differ, it does not end a session that began after it.
func TestBackchannelLogout_RejectsReplays(t *testing.T) {
	w := newWorld(t, nil)
	w.token("alice", nil) // the provider was discovered
	logout := func(jti string) string {
		return w.tenant.Sign(entratest.Claims{"iss": w.tenant.Issuer(), "aud": w.tenant.ClientID(), "tid": w.tenant.ID, "jti": jti,
			"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "sub": "subject of alice",
			"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}, map[string]any{"typ": "logout+jwt"})
	}
	status := func(cookie string) int {
		resp, _ := w.get(w.client(false), "https://"+appHost+"/", "Cookie", cookie, "Accept", "application/json")
		return resp.StatusCode
	}
	_, first := w.signIn("alice", appHost)
	token := logout("one")
	if got := w.sendLogoutToken(loginHost, token); got != 200 || status(first) != 401 {
		t.Fatalf("the first gives %d, and the session %d", got, status(first))
	}
	_, second := w.signIn("alice", appHost)
	if got := w.sendLogoutToken(loginHost, token); got != 400 || status(second) != 200 {
		t.Errorf("sent again it gives %d, and the session that began after it %d", got, status(second))
	}
	if got := w.sendLogoutToken(loginHost, logout("one")); got != 400 || status(second) != 200 {
		t.Errorf("another token with its jti gives %d, and the session %d", got, status(second))
	}
	if got := w.sendLogoutToken(loginHost, logout("two")); got != 200 || status(second) != 401 {
		t.Errorf("the next gives %d, and the session %d", got, status(second))
	}
}

// TestBackchannelLogout_OneActs sends one logout token many times at once: one is accepted, and one line is recorded.
func TestBackchannelLogout_OneActs(t *testing.T) {
	w := newWorld(t, nil)
	w.token("alice", nil) // the provider was discovered
	w.signIn("alice", appHost)
	token := w.tenant.Sign(entratest.Claims{"iss": w.tenant.Issuer(), "aud": w.tenant.ClientID(), "tid": w.tenant.ID, "jti": "one",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "sub": "subject of alice",
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}, map[string]any{"typ": "logout+jwt"})
	var accepted, rejected atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			switch w.sendLogoutToken(loginHost, token) {
			case http.StatusOK:
				accepted.Add(1)
			case http.StatusBadRequest:
				rejected.Add(1)
			}
		})
	}
	all.Wait()
	if accepted.Load() != 1 || rejected.Load() != 7 {
		t.Errorf("%d were accepted and %d rejected", accepted.Load(), rejected.Load())
	}
}
