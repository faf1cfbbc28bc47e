package proxy_test

import (
	"net/url"
	"strings"
	"testing"
)

func TestAccept(t *testing.T) {
	h := newEnv(t)
	const accept = "/.sallyport/accept?"

	t.Run("ticket_is_bound_to_browser", func(t *testing.T) {
		g, victim := h.browser(h.mallory), h.browser(h.alice)
		theirs := g.until("https://app.example.com/", accept)
		if p := victim.step(theirs); p.StatusCode != 400 || victim.cookie(appHost, sessionCookie) != "" {
			t.Errorf("a link of another person signs in: %d", p.StatusCode)
		}
		if p := g.step(theirs); p.StatusCode != 400 || g.cookie(appHost, sessionCookie) != "" {
			t.Errorf("a ticket that another browser tried is still valid: %d", p.StatusCode)
		}
		if p := g.open("https://app.example.com/"); p.StatusCode != 200 {
			t.Errorf("a new ticket: %d", p.StatusCode)
		}
	})

	t.Run("ticket_is_valid_once", func(t *testing.T) {
		g := h.browser(h.alice)
		link := g.until("https://app.example.com/x", accept)
		g.open(link)
		first := g.cookie(appHost, sessionCookie)
		if p := g.step(link); p.StatusCode != 302 || p.Header.Get("Location") != "https://app.example.com/x" || g.cookie(appHost, sessionCookie) != first {
			t.Errorf("%d to %s", p.StatusCode, p.Header.Get("Location"))
		}
		g.plant(appHost, sessionCookie, "")
		if p := g.step(link); p.StatusCode != 400 {
			t.Errorf("again, without the session cookie: %d", p.StatusCode)
		}
	})

	t.Run("ticket_is_bound_to_host", func(t *testing.T) {
		g := h.browser(h.alice)
		g.until("https://wiki.example.com/team", accept)
		link := must[*url.URL](t)(url.Parse(g.until("https://app.example.com/", accept)))
		link.Host = wikiHost
		binding := bindingCookie + link.Query().Get("bind")[:8]
		if g.cookie(appHost, binding) == "" {
			t.Fatal("no binding cookie")
		}
		g.plant(wikiHost, binding, g.cookie(appHost, binding))
		if p := g.step(link.String()); p.StatusCode != 400 || g.cookie(wikiHost, sessionCookie) != "" {
			t.Errorf("%d", p.StatusCode)
		}
	})

	t.Run("browser_without_cookies_gets_page", func(t *testing.T) {
		g := h.browser(h.alice)
		link := g.until("https://app.example.com/", accept)
		g.jar = nil
		g.client.Jar = nil
		if p := g.step(link); p.StatusCode != 400 || !strings.Contains(p.body, "accepts cookies") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})

	t.Run("returns_to_own_host_only", func(t *testing.T) {
		g := h.browser(h.alice)
		for _, to := range []string{"https://wiki.example.com/team", "https://evil.example/", "//evil.example", `/\evil.example`, ""} {
			g.plant(appHost, sessionCookie, "")
			link := must[*url.URL](t)(url.Parse(g.until("https://app.example.com/", accept)))
			q := link.Query()
			q.Set("return_to", to)
			link.RawQuery = q.Encode()
			if p := g.step(link.String()); p.StatusCode != 302 || p.Header.Get("Location") != "https://app.example.com/" {
				t.Errorf("%q: %d to %s", to, p.StatusCode, p.Header.Get("Location"))
			}
		}
	})

	t.Run("no_session_for_deactivated_user", func(t *testing.T) {
		g := h.browser(h.mallory)
		link := g.until("https://app.example.com/", accept)
		h.setActive("mallory@example.com", false)
		g.step(link)
		if p := g.ask("GET", "https://app.example.com/", nil); p.StatusCode != 403 {
			t.Errorf("%d", p.StatusCode)
		}
		h.setActive("mallory@example.com", true)
		if p := g.ask("GET", "https://app.example.com/", nil); p.StatusCode != 401 {
			t.Errorf("after reactivation: %d", p.StatusCode)
		}
	})
}
