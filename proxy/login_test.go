package proxy_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"sallyport/audit"
)

const (
	sessionCookie = "__Host-sallyport"
	bindingCookie = "__Host-sallyport-bind-"
	flowCookie    = "__Host-sallyport-flow-"
)

func TestLogin(t *testing.T) {
	h := newEnv(t)

	t.Run("returns_to_requested_page", func(t *testing.T) {
		g := h.browser(h.alice)
		p := g.open("https://app.example.com/d/1?from=now-6h&to=now")
		if p.StatusCode != 200 || !strings.HasPrefix(p.body, "the application saw GET /d/1?from=now-6h&to=now by alice@example.com with cookies") {
			t.Fatalf("%d %s\nvia %q", p.StatusCode, p.body, g.path)
		}
		if strings.Contains(p.body, "sallyport") {
			t.Errorf("the application saw a cookie of ours: %s", p.body)
		}
		if got := g.names(appHost); !slices.Equal(got, []string{sessionCookie}) {
			t.Errorf("cookies of the application's host: %q", got)
		}
		if got := g.names(loginHost); !slices.Equal(got, []string{sessionCookie}) {
			t.Errorf("cookies of the login host: %q", got)
		}
		if p := g.step("https://app.example.com/again"); p.StatusCode != 200 {
			t.Errorf("the next request: %d", p.StatusCode)
		}
	})

	t.Run("one_login_serves_all_hosts", func(t *testing.T) {
		g := h.browser(h.alice)
		g.open("https://app.example.com/")
		before := h.logins.count("authorize")
		if p := g.open("https://wiki.example.com/team/x"); p.StatusCode != 200 {
			t.Fatalf("%d %s", p.StatusCode, p.body)
		}
		if h.logins.count("authorize") != before {
			t.Error("the provider was asked again")
		}
		if a, w, l := g.cookie(appHost, sessionCookie), g.cookie(wikiHost, sessionCookie), g.cookie(loginHost, sessionCookie); a == w || a == l || w == l {
			t.Error("hosts share a cookie")
		}
	})

	t.Run("starts_on_any_host", func(t *testing.T) {
		g := h.browser(h.alice)
		for _, target := range []string{"https://app.example.com/.sallyport/login?return_to=/x", "https://login.example.com/.sallyport/login?return_to=https://app.example.com/x",
			"https://wiki.example.com/.sallyport/login?return_to=https%3A%2F%2Fapp.example.com%2Fx"} {
			for _, state := range []string{"anonymous", "signed in"} {
				if p := g.open(target); p.StatusCode != 200 || !strings.Contains(p.body, "GET /x by alice@") {
					t.Errorf("%s, from %s: %d %s", state, target, p.StatusCode, p.body)
				}
			}
			g.press(appHost, "")
		}
	})

	t.Run("cookies_are_bound_to_host", func(t *testing.T) {
		g, thief := h.browser(h.alice), h.browser(h.bob)
		g.open("https://app.example.com/")
		for _, from := range []string{appHost, loginHost} {
			thief.plant(wikiHost, sessionCookie, g.cookie(from, sessionCookie))
			if p := thief.ask("GET", "https://wiki.example.com/team", nil); p.StatusCode != 401 {
				t.Errorf("a cookie of %s opens the wiki: %d", from, p.StatusCode)
			}
		}
	})

	t.Run("cookies_have_safe_attributes", func(t *testing.T) {
		g := h.browser(h.alice)
		target := "https://app.example.com/"
		seen := map[string]bool{}
		for target != "" {
			p := g.step(target)
			for _, c := range p.Cookies() {
				seen[strings.TrimRight(c.Name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstuvwxyz_")] = true
				if !strings.HasPrefix(c.Name, "__Host-sallyport") || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode {
					t.Errorf("%s sets %+v", target, c)
				}
			}
			if strings.Contains(target, "/.sallyport/") && (p.Header.Get("Cache-Control") != "no-store" || p.Header.Get("Referrer-Policy") == "") {
				t.Errorf("%s: %v", target, p.Header)
			}
			target = p.Header.Get("Location")
		}
		if len(seen) < 2 {
			t.Errorf("saw only %v", seen)
		}
	})

	t.Run("denies_unknown_user", func(t *testing.T) {
		g := h.browser(h.stranger)
		before := len(h.sessions.List())
		p := g.open("https://app.example.com/")
		if p.StatusCode != 403 || !strings.Contains(p.body, "not set up here") || !strings.Contains(p.body, "A Stranger") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
		if got := g.names(loginHost); len(got) != 0 || len(h.sessions.List()) != before {
			t.Errorf("cookies %q; %d sessions, before %d", got, len(h.sessions.List()), before)
		}
	})

	t.Run("denies_inactive_user_without_activating", func(t *testing.T) {
		h.setActive("bob@example.com", false)
		g := h.browser(h.bob)
		p := g.open("https://app.example.com/")
		if p.StatusCode != 403 || !strings.Contains(p.body, "switched off") || g.cookie(loginHost, sessionCookie) != "" {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
		if u, ok := h.directory.Lookup(h.bob.OID); !ok || u.Active {
			t.Error("the user is active again")
		}
		h.setActive("bob@example.com", true)
	})

	t.Run("user_without_groups_sees_whom_to_ask", func(t *testing.T) {
		g := h.browser(h.bob)
		p := g.open("https://app.example.com/d/1?secret=1")
		for _, want := range []string{"Bob Roe", "GET https://app.example.com/d/1", "owner@example.com", "You may not open this"} {
			if !strings.Contains(p.body, want) {
				t.Errorf("the page does not say %q", want)
			}
		}
		if p.StatusCode != 403 || strings.Contains(p.body, "secret=1") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})

	t.Run("replaces_older_session", func(t *testing.T) {
		g, attacker := h.browser(h.alice), h.browser(h.mallory)
		attacker.open("https://app.example.com/")
		planted := attacker.cookie(loginHost, sessionCookie)
		callback := g.until("https://app.example.com/", "/.sallyport/callback?")
		g.plant(loginHost, sessionCookie, planted) // while alice is signing in
		if p := g.open(callback); p.StatusCode != 200 || !strings.Contains(p.body, "by alice@") {
			t.Fatalf("%d %s", p.StatusCode, p.body)
		}
		if g.cookie(loginHost, sessionCookie) == planted {
			t.Error("the login continues a session that another person started")
		}
		if p := attacker.ask("GET", "https://login.example.com/.sallyport/me", nil); p.StatusCode != 401 {
			t.Errorf("the older session is still valid: %d", p.StatusCode)
		}
	})

	t.Run("tabs_do_not_interfere", func(t *testing.T) {
		g := h.browser(h.alice)
		first := g.until("https://app.example.com/one", "/.sallyport/callback?")
		second := g.until("https://wiki.example.com/team/two", "/.sallyport/callback?")
		if p := g.open(first); p.StatusCode != 200 || !strings.Contains(p.body, "GET /one ") {
			t.Errorf("the first tab: %d %s", p.StatusCode, p.body)
		}
		if p := g.open(second); p.StatusCode != 200 || !strings.Contains(p.body, "GET /team/two ") {
			t.Errorf("the second tab: %d %s", p.StatusCode, p.body)
		}
	})

	t.Run("limits_flows_in_browser", func(t *testing.T) {
		g := h.browser(h.alice)
		var last string
		for i := range 60 {
			last = g.until(fmt.Sprintf("https://app.example.com/%d", i), "/authorize?")
		}
		total := 0
		for _, name := range g.names(loginHost) {
			total += len(name) + len(g.cookie(loginHost, name))
		}
		if total < 4<<10 || total > 6<<10 {
			t.Errorf("%d bytes of flows are kept", total)
		}
		if p := g.open(last); p.StatusCode != 200 || !strings.Contains(p.body, "GET /59 ") {
			t.Errorf("the newest: %d %s", p.StatusCode, p.body)
		}
	})

	t.Run("deletes_invalid_flow_cookies", func(t *testing.T) {
		g := h.browser(h.alice)
		g.plant(loginHost, flowCookie+"AAAAAAAA", "rubbish")
		g.until("https://login.example.com/.sallyport/login", "/authorize?")
		if slices.Contains(g.names(loginHost), flowCookie+"AAAAAAAA") {
			t.Error("an invalid cookie is kept")
		}
	})

	t.Run("stores_nothing_before_sign_in", func(t *testing.T) {
		before, sessions := h.revision(), len(h.sessions.List())
		for range 300 {
			g := h.browser(h.alice)
			g.until("https://app.example.com/", "/authorize?")
		}
		if after := h.revision(); after != before || len(h.sessions.List()) != sessions {
			t.Errorf("the store went from revision %d to %d", before, after)
		}
	})

	t.Run("session_ends_with_deactivation", func(t *testing.T) {
		g := h.browser(h.alice)
		g.open("https://app.example.com/")
		h.setActive("alice@example.com", false)
		if p := g.step("https://app.example.com/"); p.StatusCode != 403 || !strings.Contains(p.body, "switched off") {
			t.Errorf("while inactive: %d", p.StatusCode)
		}
		h.setActive("alice@example.com", true)
		if p := g.ask("GET", "https://app.example.com/", nil); p.StatusCode != 401 {
			t.Errorf("the old cookie after reactivation: %d %s", p.StatusCode, p.body)
		}
		if p := g.open("https://app.example.com/"); p.StatusCode != 200 || !slices.ContainsFunc(g.path, func(s string) bool { return strings.Contains(s, "/authorize?") }) {
			t.Errorf("no new login was required: %d via %q", p.StatusCode, g.path)
		}
	})

	t.Run("provider_down", func(t *testing.T) {
		g := h.browser(h.alice)
		callback := g.until("https://app.example.com/", "/.sallyport/callback?")
		h.logins.setDown(true)
		defer h.logins.setDown(false)
		if p := g.step(callback); p.StatusCode != 503 || p.Header.Get("Retry-After") == "" || g.cookie(loginHost, sessionCookie) != "" {
			t.Errorf("%d %v", p.StatusCode, p.Header)
		}
		for _, name := range g.names(loginHost) {
			if strings.Contains(name, "-flow-") {
				t.Errorf("the flow cookie %s is left", name)
			}
		}
	})

	t.Run("provider_rejects", func(t *testing.T) {
		g := h.browser(h.alice)
		authorize := must[*url.URL](t)(url.Parse(g.until("https://app.example.com/", "/authorize?")))
		q := url.Values{"state": {authorize.Query().Get("state")}, "error": {"access_denied"}, "error_description": {"<script>no</script>"}}
		p := g.step("https://login.example.com/.sallyport/callback?" + q.Encode())
		if p.StatusCode != 401 || g.cookie(loginHost, sessionCookie) != "" || strings.Contains(p.body, "<script>") || !strings.Contains(p.body, "return_to=https%3A%2F%2Fapp.example.com%2F") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
		for _, name := range g.names(loginHost) {
			if strings.Contains(name, "-flow-") {
				t.Errorf("the flow cookie %s is left: the denial must keep the Set-Cookie that deletes it", name)
			}
		}
	})
}

func TestLogin_IsRecorded(t *testing.T) {
	h := newEnv(t)
	g := h.browser(h.alice)
	g.open("https://app.example.com/?q=canary-query")
	g.open("https://wiki.example.com/team")
	h.browser(h.stranger).open("https://app.example.com/")
	h.browser(h.alice).step("https://login.example.com/.sallyport/callback?code=canary-code&state=canary-state-of-nobody")
	sessions := h.sessions.List()
	g.press(appHost, "")

	logins, logouts := h.events(audit.KindLogin), h.events(audit.KindLogout)
	t.Run("in_audit_record", func(t *testing.T) {
		if len(logins) != 2 || len(logouts) != 1 || len(sessions) != 1 {
			t.Fatalf("logins %q, logouts %q, %d sessions", logins, logouts, len(sessions))
		}
		for line, wants := range map[string][]string{
			logins[0]:  {`"decision":"allow"`, `"reason":"signed_in"`, `"user_name":"alice@example.com"`, `"session":"` + sessions[0].ID + `"`, `"address":"127.0.0.1"`},
			logins[1]:  {`"decision":"deny"`, `"reason":"unknown_user"`, `"code":403`, `"claim":"oid"`, `"value":"`, `"attribute":"externalId"`},
			logouts[0]: {`"session":"` + sessions[0].ID + `"`, `"reason":"logout"`, `"user_name":"alice@example.com"`, `"host":"app.example.com"`},
		} {
			for _, want := range wants {
				if !strings.Contains(line, want) {
					t.Errorf("%s lacks %s", line, want)
				}
			}
		}
	})
	t.Run("in_metrics", func(t *testing.T) {
		for _, c := range []struct {
			result, reason string
			want           float64
		}{{"allow", "signed_in", 1}, {"deny", "unknown_user", 1}, {"error", "unknown_flow", 1}} {
			if got := h.count(c.result, c.reason); got != c.want {
				t.Errorf("%s %s: %v, want %v", c.result, c.reason, got, c.want)
			}
		}
	})
	t.Run("without_secrets", func(t *testing.T) {
		written := h.log.String() + string(must[[]byte](t)(os.ReadFile(h.auditFile)))
		secrets := append(slices.Clone(g.setAll), "canary-query", "canary-code", "canary-state", "canary-client-secret")
		for _, secret := range secrets {
			if secret != "" && strings.Contains(written, secret) {
				t.Errorf("%q is in the log or the audit record", secret)
			}
		}
		if len(g.setAll) < 5 || len(written) < 100 {
			t.Errorf("saw only %d cookies and %d bytes", len(g.setAll), len(written))
		}
	})
}
