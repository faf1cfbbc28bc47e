package proxy_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
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

// demandLogin makes the wiki demand a login.
func (h *env) demandLogin(demand policy.Login) {
	h.t.Helper()
	h.settings.Policies = append(slices.Clone(h.settings.Policies), policy.Named{Name: "strong", Rules: []policy.Rule{
		{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: "g-sre", Name: "SRE"}}, Auth: &demand}}}})
	h.settings.Routes = slices.Clone(h.settings.Routes)
	h.settings.Routes[1].Policy = []string{"strong"}
	if err := h.proxy.Load(h.settings); err != nil {
		h.t.Fatal(err)
	}
}

// TestStepUp_Stronger checks that a rule with acr, amr or context makes a browser sign in more strongly, once.
func TestStepUp_Stronger(t *testing.T) {
	const wiki = "https://wiki.example.com/team/x"
	for name, c := range map[string]struct {
		demand policy.Login
		asked  string // of the provider
	}{
		"context": {policy.Login{Context: []string{"c1", "c2"}}, `claims={"id_token":{"acrs":{"essential":true,"value":"c1"}}}`},
		"acr":     {policy.Login{ACR: []string{"high", "higher"}}, "acr_values=high higher"},
		"all":     {policy.Login{MaxAge: time.Hour, ACR: []string{"high"}, AMR: []string{"mfa"}, Context: []string{"c1"}}, "max_age=3600"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newEnv(t)
			h.demandLogin(c.demand)
			g := h.browser(h.alice)
			g.open("https://app.example.com/")
			p := g.open(wiki)
			if p.StatusCode != 200 || !strings.Contains(p.body, "GET /team/x by alice@") {
				t.Fatalf("%d %s\nvia %q", p.StatusCode, p.body, g.path)
			}
			asked := slices.ContainsFunc(g.path, func(u string) bool {
				text, _ := url.QueryUnescape(u)
				return strings.Contains(u, "/authorize?") && strings.Contains(text, c.asked)
			})
			if !asked {
				t.Errorf("the provider was not asked for %s: %q", c.asked, g.path)
			}
			before := h.logins.count("authorize")
			if p := g.open(wiki); p.StatusCode != 200 || h.logins.count("authorize") != before {
				t.Errorf("the next time: %d via %q", p.StatusCode, g.path)
			}
			if p := g.open("https://app.example.com/"); p.StatusCode != 200 || h.logins.count("authorize") != before {
				t.Errorf("elsewhere: %d via %q", p.StatusCode, g.path)
			}
		})
	}
}

// TestStepUp_ProviderIsNotTrustedToHaveDoneIt checks that a login that is not as strong as demanded is rejected and not
// repeated without end.
func TestStepUp_ProviderIsNotTrustedToHaveDoneIt(t *testing.T) {
	h := newEnv(t)
	h.demandLogin(policy.Login{Context: []string{"c1"}})
	h.tenant.Alter(func(c entratest.Claims) { delete(c, "acrs") })
	g := h.browser(h.alice)
	if p := g.open("https://wiki.example.com/team/x"); p.StatusCode != http.StatusUnauthorized || !strings.Contains(p.body, "not as the page demands") {
		t.Errorf("%d %s\nvia %q", p.StatusCode, p.body, g.path)
	}
	if n := h.logins.count("authorize"); n > 2 {
		t.Errorf("the provider was asked %d times", n)
	}
}

// TestStepUp_ChallengesPrograms checks what a program is told whose session is too weak (RFC 9470 §3).
func TestStepUp_ChallengesPrograms(t *testing.T) {
	h := newEnv(t)
	h.demandLogin(policy.Login{MaxAge: time.Hour, ACR: []string{"high"}, Context: []string{"c1"}})
	g := h.browser(h.alice)
	g.open("https://app.example.com/")
	h.settings.Routes[0].Policy = h.settings.Routes[1].Policy
	if err := h.proxy.Load(h.settings); err != nil {
		t.Fatal(err)
	}
	p := g.ask("GET", "https://app.example.com/", nil)
	claims := base64.StdEncoding.EncodeToString([]byte(`{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`))
	want := `, max_age=3600, acr_values="high", claims="` + claims + `"`
	if got := p.Header.Get("WWW-Authenticate"); p.StatusCode != 401 || !strings.Contains(got, `error="insufficient_user_authentication"`) || !strings.HasSuffix(got, want) {
		t.Errorf("%d %s, want it to end in %s", p.StatusCode, got, want)
	}
}

// TestStepUp_DemandsLongAges checks that a rule that accepts logins of many weeks is not forgotten on the way to the
// provider, and the browser not sent to and fro between a page that wants another login and one that sees no need.
func TestStepUp_DemandsLongAges(t *testing.T) {
	h := newEnv(t)
	h.tenant.Alter(func(c entratest.Claims) { c["auth_time"] = time.Now().Add(-61 * 24 * time.Hour).Unix() })
	g := h.browser(h.alice)
	g.open("https://app.example.com/")
	h.demandLogin(policy.Login{MaxAge: 60 * 24 * time.Hour})
	h.tenant.Alter(nil)
	if p := g.open("https://wiki.example.com/team/x"); p.StatusCode != http.StatusOK {
		t.Errorf("%d %s\nvia %q", p.StatusCode, p.body, g.path)
	}
}

// TestStepUp_EndsIfClocksDiffer checks that a browser is not sent to the provider without end if the clock of the provider
// is so late that a login there is too old for the rule at once.
func TestStepUp_EndsIfClocksDiffer(t *testing.T) {
	h := newEnv(t)
	h.demandLogin(policy.Login{MaxAge: time.Minute})
	h.tenant.Alter(func(c entratest.Claims) { c["auth_time"] = time.Now().Add(-90 * time.Second).Unix() })
	if p := h.browser(h.alice).open("https://wiki.example.com/team/x"); p.StatusCode != http.StatusUnauthorized {
		t.Errorf("%d %s", p.StatusCode, p.body)
	}
}

// TestLogin_IgnoresImpossibleDemands checks that a link demands nothing that no rule could.
func TestLogin_IgnoresImpossibleDemands(t *testing.T) {
	h := newEnv(t)
	g := h.browser(h.alice)
	g.open("https://app.example.com/")
	for _, q := range []string{"acr=a%20b", "acr=", "amr=" + strings.Repeat("x", 300), "context=%00", strings.Repeat("acr=a&", 9)} {
		before := h.logins.count("authorize")
		if p := g.open("https://app.example.com/.sallyport/login?return_to=/x&" + q); p.StatusCode != 200 || h.logins.count("authorize") != before {
			t.Errorf("%s: %d via %q", q, p.StatusCode, g.path)
		}
	}
}
