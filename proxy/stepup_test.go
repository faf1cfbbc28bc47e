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

// demandRecent makes the wiki require a login within the last 15 minutes.
func (h *env) demandRecent() {
	h.t.Helper()
	h.settings.Policies = append(slices.Clone(h.settings.Policies), policy.Named{Name: "recent", Rules: []policy.Rule{
		{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: "g-sre", Name: "SRE"}}, MaxAuthAge: 15 * time.Minute}}}})
	h.settings.Routes = slices.Clone(h.settings.Routes)
	h.settings.Routes[1].Policy = []string{"recent"}
	if err := h.proxy.Load(h.settings); err != nil {
		h.t.Fatal(err)
	}
}

// TestStepUp: RFC 9470, and OpenID Connect Core 1.0 §3.1.2.1 (max_age).
func TestStepUp(t *testing.T) {
	const wiki = "https://wiki.example.com/team/x"
	h := newEnv(t)
	h.demandRecent()
	g := h.browser(h.alice)
	g.open("https://app.example.com/")
	if p := g.ask("GET", wiki, nil, "Cookie", sessionCookie+"="+g.cookie(appHost, sessionCookie)); p.StatusCode != 401 {
		t.Errorf("another host's cookie gives %d", p.StatusCode)
	}

	t.Run("sends a browser to sign in again, and back", func(t *testing.T) {
		p := g.open(wiki)
		if p.StatusCode != 200 || !strings.Contains(p.body, "GET /team/x by alice@") {
			t.Fatalf("%d %s\nby way of %q", p.StatusCode, p.body, g.path)
		}
		asked := slices.ContainsFunc(g.path, func(u string) bool {
			return strings.Contains(u, "/authorize?") && strings.Contains(u, "max_age=900") && strings.Contains(u, "prompt=login")
		})
		if !asked {
			t.Errorf("the provider was not asked for a recent login: %q", g.path)
		}
		before := h.logins.count("authorize")
		if p := g.open(wiki); p.StatusCode != 200 || h.logins.count("authorize") != before {
			t.Errorf("the next time: %d by way of %q", p.StatusCode, g.path)
		}
	})

	t.Run("believes no provider that does not say when", func(t *testing.T) {
		g := h.browser(h.alice)
		g.open("https://app.example.com/")
		h.tenant.Alter(func(c entratest.Claims) { delete(c, "auth_time") })
		defer h.tenant.Alter(nil)
		if p := g.open(wiki); p.StatusCode != http.StatusUnauthorized {
			t.Errorf("a provider that does not say when gives %d", p.StatusCode)
		}
	})

	t.Run("believes no old login", func(t *testing.T) {
		h.tenant.Alter(func(c entratest.Claims) {
			if c["auth_time"] != nil {
				c["auth_time"] = time.Now().Add(-20 * time.Minute).Unix()
			}
		})
		defer h.tenant.Alter(nil)
		if p := h.browser(h.alice).open(wiki); p.StatusCode != http.StatusUnauthorized {
			t.Errorf("an old login gives %d", p.StatusCode)
		}
	})

	t.Run("helps nobody whom no rule lets in", func(t *testing.T) {
		g := h.browser(h.bob)
		if p := g.open(wiki); p.StatusCode != http.StatusForbidden {
			t.Errorf("bob gets %d by way of %q", p.StatusCode, g.path)
		}
	})
}

// TestLogin_MaxAgeInLink: an invalid max_age in a link is ignored, so that a link cannot make anybody sign in again.
func TestLogin_MaxAgeInLink(t *testing.T) {
	h := newEnv(t)
	g := h.browser(h.alice)
	g.open("https://app.example.com/")
	for _, age := range []string{"-1", "0", "x", "99999999999999999999", "1e9", ""} {
		before := h.logins.count("authorize")
		if p := g.open(fmt.Sprintf("https://app.example.com/.sallyport/login?return_to=/x&max_age=%s", age)); p.StatusCode != 200 || h.logins.count("authorize") != before {
			t.Errorf("%q gives %d by way of %q", age, p.StatusCode, g.path)
		}
	}
}
