package proxy_test

import (
	"net/url"
	"strings"
	"testing"

	"sallyport/session"
)

// TestLogin_OtherAccount checks that every page that a person with the wrong account meets leads to the account chooser.
func TestLogin_OtherAccount(t *testing.T) {
	h := newEnv(t)
	offers := func(t *testing.T, p page, returnTo string) {
		t.Helper()
		want := "prompt=select_account&amp;return_to=" + url.QueryEscape(returnTo)
		if !strings.Contains(p.body, want) {
			t.Errorf("%d does not offer %s: %s", p.StatusCode, want, p.body)
		}
	}
	t.Run("denied", func(t *testing.T) { offers(t, h.browser(h.bob).open("https://app.example.com/d?a=b"), "/d?a=b") })
	t.Run("unknown_user", func(t *testing.T) {
		offers(t, h.browser(h.stranger).open("https://app.example.com/d?a=b"), "https://app.example.com/d?a=b")
	})
	t.Run("inactive_user", func(t *testing.T) {
		h.setActive("bob@example.com", false)
		defer h.setActive("bob@example.com", true)
		offers(t, h.browser(h.bob).open("https://app.example.com/d"), "https://app.example.com/d")
	})
	t.Run("portal", func(t *testing.T) { offers(t, h.browser(h.alice).open("https://login.example.com/"), "/") })
	t.Run("asks_provider_for_account", func(t *testing.T) {
		g := h.browser(h.bob)
		g.open("https://app.example.com/d")
		link := g.until("https://app.example.com/.sallyport/login?prompt=select_account&return_to=/d", "/authorize?")
		if q := must[*url.URL](t)(url.Parse(link)).Query(); q.Get("prompt") != "select_account" {
			t.Errorf("%v", q)
		}
		h.tenant.SignIn(h.bob.OID)
		defer h.tenant.SignIn("")
		if p := g.ask("GET", link, nil); p.StatusCode != 200 || !strings.Contains(p.body, `name="account"`) {
			t.Errorf("the provider signs the same person in again: %d %s", p.StatusCode, p.body)
		}
		g.person = h.alice
		if p := g.open(link); p.StatusCode != 200 || !strings.Contains(p.body, "GET /d by alice@") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
}

// TestLogin_FailuresAreToldApart checks that the page of a failed login says who rejected whom, and starts a new login.
func TestLogin_FailuresAreToldApart(t *testing.T) {
	h := newEnv(t)
	check := func(t *testing.T, p page, code int, words string) {
		t.Helper()
		if p.StatusCode != code || !strings.Contains(p.body, words) || !strings.Contains(p.body, "/.sallyport/login?return_to=https%3A%2F%2Fapp.example.com%2Fx") || strings.Contains(p.body, "code=") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	}
	t.Run("does_not_respond", func(t *testing.T) {
		g := h.browser(h.alice)
		callback := g.until("https://app.example.com/x", "/.sallyport/callback?")
		h.logins.setDown(true)
		defer h.logins.setDown(false)
		check(t, g.step(callback), 503, "does not respond")
	})
	t.Run("rejects_the_person", func(t *testing.T) {
		g := h.browser(h.alice)
		q := must[*url.URL](t)(url.Parse(g.until("https://app.example.com/x", "/authorize?"))).Query()
		check(t, g.step("https://login.example.com/.sallyport/callback?error=access_denied&state="+url.QueryEscape(q.Get("state"))), 401, "did not sign you in")
		q = must[*url.URL](t)(url.Parse(g.until("https://app.example.com/x", "/authorize?"))).Query()
		check(t, g.step("https://login.example.com/.sallyport/callback?error=access_denied&state="+url.QueryEscape(q.Get("state"))), 401,
			"prompt=select_account&amp;return_to=https%3A%2F%2Fapp.example.com%2Fx")
	})
	t.Run("code_was_used", func(t *testing.T) {
		g := h.browser(h.alice)
		link := must[*url.URL](t)(url.Parse(g.until("https://app.example.com/x", "/.sallyport/callback?")))
		q := link.Query()
		q.Set("code", "used")
		link.RawQuery = q.Encode()
		check(t, g.step(link.String()), 401, "used already")
	})
}

// TestLogin_FormLeadsToItsPage checks that a form that was sent without a session leads to the page of the form.
func TestLogin_FormLeadsToItsPage(t *testing.T) {
	h := newEnv(t)
	for name, c := range map[string]struct{ referer, want string }{
		"page_of_form":   {"https://app.example.com/form?id=7", "/form?id=7"},
		"another_origin": {"https://evil.example/form", "/"},
		"another_host":   {"https://wiki.example.com/team", "/"},
		"unknown":        {"", "/save?a=b"},
	} {
		t.Run(name, func(t *testing.T) {
			p := h.browser(h.alice).ask("POST", "https://app.example.com/save?a=b", strings.NewReader("x=y"), "Accept", navigate, "Sec-Fetch-Mode", "navigate",
				"Content-Type", "application/x-www-form-urlencoded", "Referer", c.referer)
			if p.StatusCode != 401 || !strings.Contains(p.body, `href="/.sallyport/login?return_to=`+url.QueryEscape(c.want)+`"`) {
				t.Errorf("%d %s", p.StatusCode, p.body)
			}
		})
	}
}

// TestLogout_NoQuestionAfterEnd checks that signing out asks nothing where the session is over.
func TestLogout_NoQuestionAfterEnd(t *testing.T) {
	h := newEnv(t)
	p := h.browser(h.alice).open("https://app.example.com/.sallyport/logout")
	if p.StatusCode != 200 || !strings.Contains(p.body, "You are signed out") || strings.Contains(p.body, "<form") {
		t.Errorf("%d %s", p.StatusCode, p.body)
	}
}

// TestLogin_SwitchesByLogout checks how people use another account at a provider that says that it has no account chooser:
// they sign out there, by a form of our own page alone, and then the provider asks who they are.
func TestLogin_SwitchesByLogout(t *testing.T) {
	h := newEnvOfProvider(t, session.Defaults(), []string{"none", "login"})
	g := h.browser(h.bob)
	g.open("https://app.example.com/d?a=b")
	p := g.open("https://app.example.com/.sallyport/login?prompt=select_account&return_to=/d?a=b")
	if p.StatusCode != 200 || p.Request.URL.Host != loginHost || !strings.Contains(p.body, `name="sign_in" value="https://app.example.com/d?a=b"`) || !strings.Contains(p.body, "Bob Roe") {
		t.Fatalf("%d %s", p.StatusCode, p.body)
	}
	if p := g.ask("GET", "https://app.example.com/d", nil); p.StatusCode != 403 {
		t.Fatalf("a link alone has signed the person out: %d", p.StatusCode)
	}
	form := url.Values{"at": {"switch"}, "sign_in": {"https://app.example.com/d?a=b"}}.Encode()
	if p := g.press(loginHost, form, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"); p.StatusCode != 403 {
		t.Errorf("a form of another site: %d", p.StatusCode)
	}
	if p := g.ask("GET", "https://login.example.com/.sallyport/logout?"+form, nil); p.StatusCode != 200 {
		t.Errorf("a link with the form: %d", p.StatusCode)
	}
	if p := g.ask("GET", "https://app.example.com/d", nil); p.StatusCode != 403 {
		t.Fatalf("another site has signed the person out: %d", p.StatusCode)
	}
	p = g.press(loginHost, form)
	to := must[*url.URL](t)(url.Parse(p.Header.Get("Location")))
	if p.StatusCode != 303 || !strings.HasSuffix(to.Path, "/logout") || to.Query().Get("id_token_hint") == "" || to.Query().Get("post_logout_redirect_uri") != "https://login.example.com/.sallyport/logout" {
		t.Fatalf("%d %s", p.StatusCode, to)
	}
	if p := g.ask("GET", "https://app.example.com/d", nil); p.StatusCode != 401 {
		t.Errorf("after signing out: %d", p.StatusCode)
	}
	g.person = h.alice
	back := "https://login.example.com/.sallyport/logout?state=" + url.QueryEscape(to.Query().Get("state"))
	if q := must[*url.URL](t)(url.Parse(g.until(back, "/authorize?"))).Query(); q.Has("prompt") {
		t.Errorf("the provider is asked for %v", q)
	}
	if p := g.open(back); p.StatusCode != 200 || !strings.Contains(p.body, "GET /d?a=b by alice@") {
		t.Errorf("%d %s", p.StatusCode, p.body)
	}
	for _, forged := range []string{"switch.", "switch.AAAA", "switch.https://evil.example/"} {
		if p := h.browser(h.bob).ask("GET", "https://login.example.com/.sallyport/logout?state="+url.QueryEscape(forged), nil, "Accept", navigate); p.StatusCode != 200 || !strings.Contains(p.body, "You are signed out") {
			t.Errorf("%s: %d %s", forged, p.StatusCode, p.Header.Get("Location"))
		}
	}
}
