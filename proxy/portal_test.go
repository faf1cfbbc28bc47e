package proxy_test

import (
	"strings"
	"testing"
)

func TestPortal(t *testing.T) {
	h := newEnv(t)
	g := h.browser(h.alice)
	t.Run("requires_sign_in", func(t *testing.T) {
		if p := g.ask("GET", "https://login.example.com/", nil); p.StatusCode != 401 {
			t.Errorf("%d", p.StatusCode)
		}
	})
	t.Run("lists_applications", func(t *testing.T) {
		p := g.open("https://login.example.com/")
		if p.StatusCode != 200 || !strings.Contains(p.body, `href="https://app.example.com/"`) || !strings.Contains(p.body, `href="https://wiki.example.com/team"`) || strings.Contains(p.body, apiHost) {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
	t.Run("follows_groups", func(t *testing.T) {
		h.removeFromGroup("alice@example.com")
		if p := g.open("https://login.example.com/"); p.StatusCode != 200 || !strings.Contains(p.body, "You may not open any application") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
	t.Run("rejects_other_methods", func(t *testing.T) {
		if p := g.ask("POST", "https://login.example.com/", nil); p.StatusCode != 405 {
			t.Errorf("%d", p.StatusCode)
		}
	})
	t.Run("only_on_login_host", func(t *testing.T) {
		if p := g.ask("GET", "https://wiki.example.com/", nil); p.StatusCode != 404 {
			t.Errorf("%d", p.StatusCode)
		}
	})
}
