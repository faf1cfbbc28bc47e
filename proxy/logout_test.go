package proxy_test

import (
	"strings"
	"testing"
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
