package proxy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/entratest"
	"sallyport/policy"
)

// requireRecentLogin makes the wiki require a login within the last 15 minutes.
func (h *env) requireRecentLogin() {
	h.t.Helper()
	h.settings.Policies = append(slices.Clone(h.settings.Policies), policy.Named{Name: "recent", Rules: []policy.Rule{
		{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: "g-sre", Name: "SRE"}}, MaxAuthAge: 15 * time.Minute}}}})
	h.settings.Routes = slices.Clone(h.settings.Routes)
	h.settings.Routes[1].Policy = []string{"recent"}
	if err := h.proxy.Load(h.settings); err != nil {
		h.t.Fatal(err)
	}
}

// TestStepUp checks that a rule with max_auth_age makes a browser sign in again (RFC 9470; OpenID Connect Core 1.0
// §3.1.2.1, max_age).
func TestStepUp(t *testing.T) {
	const wiki = "https://wiki.example.com/team/x"
	h := newEnv(t)
	h.requireRecentLogin()
	g := h.browser(h.alice)
	g.open("https://app.example.com/")
	if p := g.ask("GET", wiki, nil, "Cookie", sessionCookie+"="+g.cookie(appHost, sessionCookie)); p.StatusCode != 401 {
		t.Errorf("a cookie of another host: %d", p.StatusCode)
	}

	t.Run("browser_signs_in_again_and_returns", func(t *testing.T) {
		p := g.open(wiki)
		if p.StatusCode != 200 || !strings.Contains(p.body, "GET /team/x by alice@") {
			t.Fatalf("%d %s\nvia %q", p.StatusCode, p.body, g.path)
		}
		requested := slices.ContainsFunc(g.path, func(u string) bool {
			return strings.Contains(u, "/authorize?") && strings.Contains(u, "max_age=900") && strings.Contains(u, "prompt=login")
		})
		if !requested {
			t.Errorf("the provider was not asked for a recent login: %q", g.path)
		}
		before := h.logins.count("authorize")
		if p := g.open(wiki); p.StatusCode != 200 || h.logins.count("authorize") != before {
			t.Errorf("the next time: %d via %q", p.StatusCode, g.path)
		}
	})

	t.Run("tabs_sign_in_again_together", func(t *testing.T) {
		g := h.browser(h.alice)
		g.open("https://app.example.com/")
		callbacks := []string{g.until(wiki, "/.sallyport/callback?"), g.until(wiki, "/.sallyport/callback?")}
		accepts := []string{g.until(callbacks[0], "/.sallyport/accept?"), g.until(callbacks[1], "/.sallyport/accept?")}
		for i, accept := range accepts {
			if p := g.open(accept); p.StatusCode != 200 || !strings.Contains(p.body, "GET /team/x by alice@") {
				t.Errorf("tab %d: %d %s", i, p.StatusCode, p.body)
			}
		}
	})

	t.Run("denies_without_auth_time", func(t *testing.T) {
		g := h.browser(h.alice)
		g.open("https://app.example.com/")
		h.tenant.Alter(func(c entratest.Claims) { delete(c, "auth_time") })
		defer h.tenant.Alter(nil)
		if p := g.open(wiki); p.StatusCode != http.StatusUnauthorized {
			t.Errorf("a login without auth_time: %d", p.StatusCode)
		}
	})

	t.Run("denies_old_auth_time", func(t *testing.T) {
		h.tenant.Alter(func(c entratest.Claims) {
			if c["auth_time"] != nil {
				c["auth_time"] = time.Now().Add(-20 * time.Minute).Unix()
			}
		})
		defer h.tenant.Alter(nil)
		if p := h.browser(h.alice).open(wiki); p.StatusCode != http.StatusUnauthorized {
			t.Errorf("an old login: %d", p.StatusCode)
		}
	})

	t.Run("user_without_rule_stays_denied", func(t *testing.T) {
		g := h.browser(h.bob)
		if p := g.open(wiki); p.StatusCode != http.StatusForbidden {
			t.Errorf("bob: %d via %q", p.StatusCode, g.path)
		}
	})
}

// TestLogin_IgnoresInvalidMaxAge checks that a link with an invalid max_age does not make a person sign in again.
func TestLogin_IgnoresInvalidMaxAge(t *testing.T) {
	h := newEnv(t)
	g := h.browser(h.alice)
	g.open("https://app.example.com/")
	for _, age := range []string{"-1", "0", "x", "99999999999999999999", "1e9", ""} {
		before := h.logins.count("authorize")
		if p := g.open(fmt.Sprintf("https://app.example.com/.sallyport/login?return_to=/x&max_age=%s", age)); p.StatusCode != 200 || h.logins.count("authorize") != before {
			t.Errorf("max_age=%s: %d via %q", age, p.StatusCode, g.path)
		}
	}
}
