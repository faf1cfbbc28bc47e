package proxy_test

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"sallyport/entratest"
)

func TestLogout(t *testing.T) {
	h := newEnv(t)
	signedIn := func(t *testing.T) *browser {
		g := h.browser(h.alice)
		g.open("https://app.example.com/")
		g.open("https://wiki.example.com/team")
		return g
	}
	checkSignedOut := func(t *testing.T, g *browser, want bool) {
		t.Helper()
		for _, target := range []string{"https://app.example.com/", "https://wiki.example.com/team", "https://login.example.com/.sallyport/me"} {
			if p := g.ask("GET", target, nil); (p.StatusCode == 401) != want {
				t.Errorf("%s: %d", target, p.StatusCode)
			}
		}
	}

	for _, host := range []string{appHost, wikiHost, loginHost} {
		t.Run("ends_session_everywhere_on_"+host, func(t *testing.T) {
			g := signedIn(t)
			copied := h.browser(h.alice)
			copied.plant(appHost, sessionCookie, g.cookie(appHost, sessionCookie))
			p := g.press(host, "")
			if p.StatusCode != 200 || !strings.Contains(p.body, "You are signed out") || !strings.Contains(p.body, "/oauth2/v2.0/logout") {
				t.Errorf("%d %s", p.StatusCode, p.body)
			}
			if g.cookie(host, sessionCookie) != "" {
				t.Error("the session cookie is still set")
			}
			checkSignedOut(t, g, true)
			for _, path := range []string{"/", "/.sallyport/me"} {
				if p := copied.ask("GET", "https://app.example.com"+path, nil); p.StatusCode != 401 || !strings.Contains(p.body, `"reason":"session_ended"`) {
					t.Errorf("a copied cookie on %s: %d %s", path, p.StatusCode, p.body)
				}
			}
		})
	}

	t.Run("link_asks_first", func(t *testing.T) {
		g := signedIn(t)
		p := g.step("https://app.example.com/.sallyport/logout?return_to=/x")
		if p.StatusCode != 200 || !strings.Contains(p.body, `method="post"`) || !strings.Contains(p.body, "Alice Ng") || !strings.Contains(p.body, `value="https://app.example.com/x"`) {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
		checkSignedOut(t, g, false)
	})

	for name, header := range map[string][]string{
		"another_site":                {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		"another_host_of_ours":        {"Sec-Fetch-Site", "same-site", "Origin", "https://wiki.example.com"},
		"another_site_old_browser":    {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
		"sandboxed_frame":             {"Sec-Fetch-Site", "cross-site", "Origin", "null"},
		"sandboxed_frame_old_browser": {"Sec-Fetch-Site", "", "Origin", "null"},
		"host_with_our_prefix":        {"Sec-Fetch-Site", "", "Origin", "https://app.example.com.evil.example"},
	} {
		t.Run("rejects_post_of_"+name, func(t *testing.T) {
			g := signedIn(t)
			if p := g.press(appHost, "", header...); p.StatusCode != 403 {
				t.Errorf("%d", p.StatusCode)
			}
			checkSignedOut(t, g, false)
		})
	}

	t.Run("follows_return_to_on_our_hosts", func(t *testing.T) {
		for form, want := range map[string]string{
			"return_to=/x": "https://app.example.com/x",
			"return_to=https%3A%2F%2Fwiki.example.com%2F": "https://wiki.example.com/",
			"return_to=https%3A%2F%2Flogin.example.com":   "https://login.example.com/",
		} {
			if p := signedIn(t).press(appHost, form); p.StatusCode != 303 || p.Header.Get("Location") != want {
				t.Errorf("%s: %d to %q", form, p.StatusCode, p.Header.Get("Location"))
			}
		}
		if p := signedIn(t).press(appHost, "return_to=https%3A%2F%2Fevil.example%2F"); p.StatusCode != 200 || p.Header.Get("Location") != "" {
			t.Errorf("%d to %q", p.StatusCode, p.Header.Get("Location"))
		}
		if p := signedIn(t).press(appHost, "return_to="+strings.Repeat("x", 1<<20)); p.StatusCode != 200 {
			t.Errorf("a form of a megabyte: %d", p.StatusCode)
		}
	})

	t.Run("program_gets_no_page", func(t *testing.T) {
		g := signedIn(t)
		if p := g.press(appHost, "", "Accept", "application/json", "Sec-Fetch-Mode", "cors"); p.StatusCode != 204 || p.body != "" {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
		checkSignedOut(t, g, true)
	})

	t.Run("rejects_other_methods", func(t *testing.T) {
		g := signedIn(t)
		for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "logout"} {
			if p := g.ask(method, "https://app.example.com/.sallyport/logout", nil); p.StatusCode != 405 || p.Header.Get("Allow") != "GET, HEAD, POST" {
				t.Errorf("%s: %d, Allow %q", method, p.StatusCode, p.Header.Get("Allow"))
			}
		}
		checkSignedOut(t, g, false)
	})

	t.Run("anonymous_logout_is_harmless", func(t *testing.T) {
		g := h.browser(h.alice)
		if p := g.press(loginHost, ""); p.StatusCode != 200 || !strings.Contains(p.body, "You are signed out") {
			t.Errorf("%d", p.StatusCode)
		}
		if p := g.step("https://login.example.com/.sallyport/logout"); p.StatusCode != 200 || !strings.Contains(p.body, "You are signed out") {
			t.Errorf("%d", p.StatusCode)
		}
	})

	t.Run("finds_session_of_login_host", func(t *testing.T) {
		g := signedIn(t)
		g.plant(appHost, sessionCookie, strings.Repeat("A", 43))
		p := g.press(appHost, "")
		if p.StatusCode != 303 || p.Header.Get("Location") != "https://login.example.com/.sallyport/logout?return_to=https%3A%2F%2Fapp.example.com%2F" {
			t.Fatalf("%d to %s", p.StatusCode, p.Header.Get("Location"))
		}
		if p := g.step(p.Header.Get("Location")); !strings.Contains(p.body, "Alice Ng") || !strings.Contains(p.body, `method="post"`) {
			t.Errorf("the page has no sign-out button: %s", p.body)
		}
		g.press(loginHost, "")
		checkSignedOut(t, g, true)
	})

	t.Run("new_login_after_logout", func(t *testing.T) {
		g := signedIn(t)
		g.press(appHost, "")
		if p := g.open("https://app.example.com/"); p.StatusCode != 200 {
			t.Errorf("%d", p.StatusCode)
		}
	})
}

// linkTo returns the URL of the page's link whose address contains text; nil if there is none.
func (p page) linkTo(t *testing.T, text string) *url.URL {
	t.Helper()
	for _, m := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(p.body, -1) {
		if link := html.UnescapeString(m[1]); strings.Contains(link, text) {
			return must[*url.URL](t)(p.Request.URL.Parse(link))
		}
	}
	return nil
}

// TestLogout_AtProvider checks that the provider need not ask, and sends the browser to a page that says signed out.
func TestLogout_AtProvider(t *testing.T) {
	h := newEnv(t)
	const asked, atProvider = "https://app.example.com/d?a=b", "at=provider"
	signedOut := func(t *testing.T, host string) (*browser, page) {
		g := h.browser(h.alice)
		g.open(asked)
		return g, g.press(host, "sign_in="+url.QueryEscape(asked))
	}
	// toProvider follows the page's link to the provider, but for its redirect.
	toProvider := func(t *testing.T, g *browser, p page) *url.URL {
		t.Helper()
		link := p.linkTo(t, atProvider)
		if link == nil || link.Host != loginHost || strings.Contains(p.body, "id_token") || !strings.Contains(p.body, "/oauth2/v2.0/logout") {
			t.Fatalf("the page does not lead to the provider by way of the login host: %s", p.body)
		}
		to := g.step(link.String())
		if to.StatusCode != 302 {
			t.Fatalf("%d %s", to.StatusCode, to.body)
		}
		return must[*url.URL](t)(url.Parse(to.Header.Get("Location")))
	}
	for _, host := range []string{appHost, loginHost} {
		t.Run("from_"+host, func(t *testing.T) {
			g, p := signedOut(t, host)
			link := toProvider(t, g, p)
			q := link.Query()
			if strings.Count(q.Get("id_token_hint"), ".") != 2 || q.Get("post_logout_redirect_uri") != "https://login.example.com/.sallyport/logout" || strings.Contains(q.Get("state"), "app.example") {
				t.Errorf("%v", q)
			}
			for name, other := range map[string]*browser{"cookies_are_lost": h.browser(h.alice), "another_person": h.browser(h.bob)} {
				if name == "another_person" {
					other.open("https://login.example.com/")
					other.press(loginHost, "")
				}
				if got := toProvider(t, other, p).Query().Get("id_token_hint"); got != "" && (name == "cookies_are_lost" || got == q.Get("id_token_hint")) {
					t.Errorf("%s: the ID token is disclosed", name)
				}
			}
			back := h.browser(h.alice).open(link.String()) // a browser without a session
			if back.StatusCode != 200 || !strings.Contains(back.body, "You are signed out") || back.Request.URL.Host != loginHost {
				t.Errorf("%d at %s: %s", back.StatusCode, back.Request.URL, back.body)
			}
			if back.linkTo(t, atProvider) != nil {
				t.Error("the page offers to sign out at the provider once more")
			}
			signIn := back.linkTo(t, "/.sallyport/login?")
			if signIn == nil || signIn.Query().Get("prompt") != "select_account" || signIn.Query().Get("return_to") != asked {
				t.Errorf("the page leads to %v", signIn)
			}
		})
	}
	t.Run("page_needs_no_state", func(t *testing.T) {
		for _, state := range []string{"", "?state=", "?state=x", "?state=signed_out.x"} {
			p := h.browser(h.alice).step("https://login.example.com/.sallyport/logout" + state)
			if p.StatusCode != 200 || !strings.Contains(p.body, "You are signed out") || p.linkTo(t, atProvider) == nil {
				t.Errorf("%q: %d %s", state, p.StatusCode, p.body)
			}
		}
	})
	t.Run("asks_whoever_is_still_signed_in", func(t *testing.T) {
		_, p := signedOut(t, appHost)
		g := h.browser(h.alice)
		g.open(asked)
		if p := g.open(p.linkTo(t, atProvider).String()); !strings.Contains(p.body, "Sign out?") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
	t.Run("not_after_another_end", func(t *testing.T) {
		g := h.browser(h.mallory)
		g.open("https://login.example.com/")
		h.setActive("mallory@example.com", false)
		defer h.setActive("mallory@example.com", true)
		if to := toProvider(t, g, g.open("https://login.example.com/.sallyport/logout")); to.Query().Has("id_token_hint") {
			t.Errorf("%v", to)
		}
	})
	t.Run("without_id_token", func(t *testing.T) {
		h.tenant.Alter(func(c entratest.Claims) { c["long"] = strings.Repeat("x", 4<<10) })
		defer h.tenant.Alter(nil)
		g, p := signedOut(t, appHost)
		if to := toProvider(t, g, p); to.Query().Has("id_token_hint") || to.Query().Get("client_id") == "" {
			t.Errorf("%v", to)
		}
	})
	t.Run("session_that_is_over", func(t *testing.T) {
		g := h.browser(h.alice)
		g.open(asked)
		g.press(loginHost, "")
		p := g.open("https://app.example.com/.sallyport/logout")
		if p.StatusCode != 200 || !strings.Contains(p.body, "You are signed out") || strings.Contains(p.body, "<form") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
}

// TestLogout_OfDenied checks that signing out on the page of a denial does not sign the same person in again.
func TestLogout_OfDenied(t *testing.T) {
	h := newEnv(t)
	g := h.browser(h.bob)
	question := g.open(g.open("https://app.example.com/d?a=b").linkTo(t, "/.sallyport/logout?").String())
	field := regexp.MustCompile(`name="([a-z_]+)" value="([^"]*)"`).FindStringSubmatch(question.body)
	if field == nil {
		t.Fatal(question.body)
	}
	p := g.press(appHost, url.Values{field[1]: {html.UnescapeString(field[2])}}.Encode())
	signIn := p.linkTo(t, "/.sallyport/login?")
	if p.StatusCode != 200 || !strings.Contains(p.body, "You are signed out") || signIn == nil {
		t.Fatalf("%d to %s: %s", p.StatusCode, p.Header.Get("Location"), p.body)
	}
	if q := signIn.Query(); q.Get("prompt") != "select_account" || q.Get("return_to") != "https://app.example.com/d?a=b" {
		t.Errorf("%v", q)
	}
}
