package proxy_test

import (
	"encoding/json"
	"strings"
	"testing"

	"sallyport/directory"
)

// TestLogin_ProgramsGetProblems checks that a client that is not a browser opening a page gets 401 or 403 with a
// problem, never a redirect to log in.
func TestLogin_ProgramsGetProblems(t *testing.T) {
	h := newEnv(t)
	g := h.browser(h.alice)
	for name, header := range map[string][]string{
		"curl":      {"Accept", "*/*"},
		"fetch":     {"Accept", "text/html", "Sec-Fetch-Mode", "cors"},
		"XHR":       {"Accept", "text/html", "X-Requested-With", "XMLHttpRequest"},
		"JSON":      {"Accept", "application/json"},
		"websocket": {"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
	} {
		t.Run("challenges_"+name, func(t *testing.T) {
			p := g.ask("GET", "https://app.example.com/x", nil, header...)
			if p.StatusCode != 401 || p.Header.Get("WWW-Authenticate") != `Bearer realm="sallyport"` || p.Header.Get("Location") != "" || len(p.Cookies()) != 0 {
				t.Errorf("%d %v", p.StatusCode, p.Header)
			}
		})
	}
	t.Run("browser_on_token_route_gets_page", func(t *testing.T) {
		if p := g.step("https://api.example.com/"); p.StatusCode != 401 || p.Header.Get("Location") != "" {
			t.Errorf("%d %v", p.StatusCode, p.Header)
		}
	})
	t.Run("denied_program_gets_problem", func(t *testing.T) {
		p := g.ask("GET", "https://api.example.com/x?a=s3cret", nil, "Authorization", "Bearer "+h.tenant.AccessToken(h.bob, audience, nil))
		var got map[string]any
		if err := json.Unmarshal([]byte(p.body), &got); err != nil || p.StatusCode != 403 || got["reason"] != "no_rule" || got["request"] == "" || got["status"] != 403.0 || strings.Contains(p.body, "s3cret") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
	t.Run("assertion_keys_are_public", func(t *testing.T) {
		p := g.ask("GET", "https://api.example.com/.sallyport/jwks.json", nil)
		var set struct{ Keys []map[string]string }
		if err := json.Unmarshal([]byte(p.body), &set); err != nil || p.StatusCode != 200 || len(set.Keys) == 0 || set.Keys[0]["crv"] != "P-256" || set.Keys[0]["d"] != "" {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
	t.Run("unknown_internal_paths_are_not_found", func(t *testing.T) {
		for _, path := range []string{"/.sallyport/", "/.sallyport", "/.sallyport/x", "/.sallyport/login/x", "/.sallyport/Login"} {
			if p := g.ask("GET", "https://app.example.com"+path, nil); p.StatusCode != 404 {
				t.Errorf("%s: %d", path, p.StatusCode)
			}
		}
	})
}

// TestLogin_FailsClosed checks that a login is denied, and starts no session, if a part that the decision depends on
// fails.
func TestLogin_FailsClosed(t *testing.T) {
	for name, c := range map[string]struct {
		fail   func(h *env)
		status int
		text   string
	}{
		"damaged_record": {func(h *env) {
			h.write("group/", []byte("{"))
			h.change(func(tx *directory.Tx) error { return tx.PutUser(&directory.User{UserName: "later"}) }) // returns after memory has the damaged record
		}, 403, "cannot be read"},
		"directory_stale": {func(h *env) { h.stopDirectory() }, 503, "not up to date"},
		"sessions_stale":  {func(h *env) { h.stopSessions() }, 503, "Sessions cannot be written"},
		"audit_closed":    {func(h *env) { h.record.Close() }, 503, "the record cannot be written"},
		"provider_down":   {func(h *env) { h.logins.setDown(true) }, 503, "does not respond"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newEnv(t)
			g := h.browser(h.alice)
			callback := g.until("https://app.example.com/", "/.sallyport/callback?")
			c.fail(h)
			p := g.step(callback)
			if p.StatusCode != c.status || !strings.Contains(p.body, c.text) || g.cookie(loginHost, sessionCookie) != "" {
				t.Errorf("%d, cookies %q: %s", p.StatusCode, g.names(loginHost), p.body)
			}
			if (c.status == 503) != (p.Header.Get("Retry-After") != "") {
				t.Errorf("Retry-After %q", p.Header.Get("Retry-After"))
			}
			for _, started := range h.sessions.List() {
				t.Errorf("session %s was started", started.ID)
			}
		})
	}

	t.Run("logout_fails_without_store", func(t *testing.T) {
		h := newEnv(t)
		g := h.browser(h.alice)
		g.open("https://app.example.com/")
		h.stopSessions()
		if p := g.press(appHost, ""); p.StatusCode != 503 || g.cookie(appHost, sessionCookie) == "" {
			t.Errorf("%d", p.StatusCode)
		}
	})

	t.Run("logout_works_without_audit", func(t *testing.T) {
		h := newEnv(t)
		g := h.browser(h.alice)
		g.open("https://app.example.com/")
		h.record.Close()
		if p := g.press(appHost, ""); p.StatusCode != 200 || len(h.sessions.List()) != 0 {
			t.Errorf("%d, %d sessions", p.StatusCode, len(h.sessions.List()))
		}
	})
}
