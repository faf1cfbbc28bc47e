package proxy_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
)

func TestMe(t *testing.T) {
	h := newEnv(t)
	g := h.browser(h.alice)
	const url = "https://app.example.com/.sallyport/me"

	t.Run("challenges_anonymous", func(t *testing.T) {
		p := g.ask("GET", url, nil, "Accept", "application/json")
		if p.StatusCode != 401 || p.Header.Get("WWW-Authenticate") != `Bearer realm="sallyport"` || p.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%d %v", p.StatusCode, p.Header)
		}
	})
	g.open("https://app.example.com/")
	type response struct {
		User     map[string]any
		Groups   []map[string]string
		Session  map[string]any
		Token    map[string]any
		Revision uint64 `json:"directory_revision"`
	}
	read := func(t *testing.T, header ...string) (got response) {
		t.Helper()
		p := g.ask("GET", url, nil, header...)
		if p.StatusCode != 200 || p.Header.Get("Content-Type") != "application/json" || p.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %v", p.StatusCode, p.Header)
		}
		if err := json.Unmarshal([]byte(p.body), &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	t.Run("describes_browser", func(t *testing.T) {
		got := read(t)
		if got.User["user_name"] != "alice@example.com" || got.User["display_name"] != "Alice Ng" || got.User["external_id"] != h.alice.OID || len(got.Session["id"].(string)) != 32 ||
			len(got.Groups) != 1 || !maps.Equal(got.Groups[0], map[string]string{"id": "g-sre", "name": "SRE"}) || got.Revision != h.directory.Revision() || got.Token != nil {
			t.Errorf("%+v", got)
		}
	})
	t.Run("describes_program", func(t *testing.T) {
		got := read(t, "Authorization", "Bearer "+h.tenant.AccessToken(h.mallory, audience, nil))
		if got.User["user_name"] != "mallory@example.com" || got.Session != nil || got.Token["issuer"] != h.tenant.Issuer() {
			t.Errorf("%+v", got)
		}
	})
	t.Run("invalid_token", func(t *testing.T) {
		for _, token := range []string{"x", h.tenant.AccessToken(h.alice, "api://other", nil), g.cookie(appHost, sessionCookie)} {
			p := g.ask("GET", url, nil, "Authorization", "Bearer "+token)
			if p.StatusCode != 401 || !strings.HasPrefix(p.Header.Get("WWW-Authenticate"), `Bearer realm="sallyport", error="invalid_token"`) {
				t.Errorf("%.10s…: %d %q", token, p.StatusCode, p.Header.Get("WWW-Authenticate"))
			}
		}
	})
	t.Run("follows_directory", func(t *testing.T) {
		h.removeFromGroup("alice@example.com")
		if got := read(t); len(got.Groups) != 0 {
			t.Errorf("%+v", got)
		}
		h.setActive("alice@example.com", false)
		if p := g.ask("GET", url, nil); p.StatusCode != 403 {
			t.Errorf("%d", p.StatusCode)
		}
	})
}
