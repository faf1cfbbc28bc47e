package proxy_test

import (
	"net/url"
	"strings"
	"sync"
	"testing"
)

func TestCallback(t *testing.T) {
	h := newEnv(t)
	const callback = "https://login.example.com/.sallyport/callback"

	for name, query := range map[string]string{
		"no_query":            "",
		"no_state":            "?code=x",
		"short_state":         "?code=x&state=abc",
		"unknown_state":       "?code=x&state=" + strings.Repeat("A", 43),
		"state_with_newline":  "?code=x&state=%0d%0aSet-Cookie:a=b",
		"state_of_semicolons": "?code=x&state=;;;;;;;;;;",
	} {
		t.Run("rejects_"+name, func(t *testing.T) {
			g := h.browser(h.alice)
			if p := g.step(callback + query); p.StatusCode != 400 || len(g.names(loginHost)) != 0 {
				t.Errorf("%d, cookies %q", p.StatusCode, g.names(loginHost))
			}
		})
	}

	t.Run("belongs_to_starting_browser", func(t *testing.T) {
		g, victim := h.browser(h.mallory), h.browser(h.alice)
		theirs := g.until("https://app.example.com/", callback+"?")
		if p := victim.step(theirs); p.StatusCode != 400 || victim.cookie(loginHost, sessionCookie) != "" {
			t.Errorf("signed in as another person: %d", p.StatusCode)
		}
		victim.until("https://app.example.com/", "/authorize?") // now the victim has a flow too
		if p := victim.step(theirs); p.StatusCode != 400 || victim.cookie(loginHost, sessionCookie) != "" {
			t.Errorf("signed in as another person: %d", p.StatusCode)
		}
	})

	t.Run("rejects_flow_of_another_login", func(t *testing.T) {
		g := h.browser(h.alice)
		first := must[*url.URL](t)(url.Parse(g.until("https://app.example.com/", callback+"?")))
		second := must[*url.URL](t)(url.Parse(g.until("https://app.example.com/", callback+"?")))
		q := first.Query()
		q.Set("code", second.Query().Get("code")) // the PKCE verifier of the flow does not match this code
		if p := g.step(callback + "?" + q.Encode()); p.StatusCode != 401 || g.cookie(loginHost, sessionCookie) != "" {
			t.Errorf("%d", p.StatusCode)
		}
	})

	t.Run("rejects_altered_state", func(t *testing.T) {
		g := h.browser(h.alice)
		u := must[*url.URL](t)(url.Parse(g.until("https://app.example.com/", callback+"?")))
		q := u.Query()
		q.Set("state", q.Get("state")[:8]+strings.Repeat("A", len(q.Get("state"))-8))
		if p := g.step(callback + "?" + q.Encode()); p.StatusCode != 400 {
			t.Errorf("%d", p.StatusCode)
		}
	})

	t.Run("is_valid_once", func(t *testing.T) {
		g := h.browser(h.alice)
		target := g.until("https://app.example.com/", callback+"?")
		flow := ""
		for _, name := range g.names(loginHost) {
			if strings.HasPrefix(name, flowCookie) {
				flow = name
			}
		}
		copied := g.cookie(loginHost, flow)
		if p := g.open(target); p.StatusCode != 200 {
			t.Fatalf("%d", p.StatusCode)
		}
		if p := g.open(target); p.StatusCode != 200 || p.Request.URL.Path != "/" { // as with the back button
			t.Errorf("the second time: %d at %s", p.StatusCode, p.Request.URL)
		}
		g.plant(loginHost, flow, copied) // as an attacker with a copy of the cookie would
		if p := g.step(target); p.StatusCode != 401 {
			t.Errorf("with a copy of the flow: %d", p.StatusCode)
		}
	})

	t.Run("sealed_flow_is_no_session", func(t *testing.T) {
		g := h.browser(h.alice)
		state := must[*url.URL](t)(url.Parse(g.until("https://app.example.com/", "/authorize?"))).Query().Get("state")
		sealed := g.cookie(loginHost, flowCookie+state[:8])
		for _, value := range []string{state, sealed, strings.Repeat("A", 43)} {
			g.plant(loginHost, sessionCookie, value)
			if p := g.ask("GET", "https://login.example.com/.sallyport/me", nil); p.StatusCode != 401 {
				t.Errorf("%.20s… is accepted as a session: %d", value, p.StatusCode)
			}
		}
	})

	t.Run("not_on_other_host", func(t *testing.T) {
		if p := h.browser(h.alice).step("https://app.example.com/.sallyport/callback?code=x&state=" + strings.Repeat("A", 43)); p.StatusCode != 404 {
			t.Errorf("%d", p.StatusCode)
		}
	})

	t.Run("concurrent_logins_stay_separate", func(t *testing.T) {
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				person := h.alice
				if i%2 == 1 {
					person = h.mallory
				}
				g := h.browser(person)
				for range 5 {
					p := g.open("https://app.example.com/")
					if !strings.Contains(p.body, "by "+person.UPN) {
						t.Errorf("%s got %d %s", person.UPN, p.StatusCode, p.body)
					}
					g.press(appHost, "")
				}
			})
		}
		all.Wait()
	})
}
