package proxy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"sallyport/audit"
	"sallyport/directory"
)

const (
	sessionCookie = "__Host-sallyport"
	bindingCookie = "__Host-sallyport-door"
	flowCookie    = "__Host-sallyport-flow-"
)

func TestLogin(t *testing.T) {
	h := newEnv(t)

	t.Run("returns_to_requested_page", func(t *testing.T) {
		g := h.browser(h.alice)
		p := g.open("https://app.example.com/d/1?from=now-6h&to=now")
		if p.StatusCode != 200 || !strings.HasPrefix(p.body, "the application saw GET /d/1?from=now-6h&to=now by alice@example.com with cookies") {
			t.Fatalf("%d %s\nby way of %q", p.StatusCode, p.body, g.path)
		}
		if strings.Contains(p.body, "sallyport") {
			t.Errorf("the application saw a cookie of ours: %s", p.body)
		}
		if got := g.names(appHost); !slices.Equal(got, []string{sessionCookie, bindingCookie}) {
			t.Errorf("cookies of the application's host: %q", got)
		}
		if got := g.names(loginHost); !slices.Equal(got, []string{sessionCookie}) {
			t.Errorf("cookies of the login host: %q", got)
		}
		if p := g.step("https://app.example.com/again"); p.StatusCode != 200 {
			t.Errorf("the next request: %d", p.StatusCode)
		}
	})

	t.Run("one_login_serves_all_hosts", func(t *testing.T) {
		g := h.browser(h.alice)
		g.open("https://app.example.com/")
		asked := h.logins.count("authorize")
		if p := g.open("https://wiki.example.com/team/x"); p.StatusCode != 200 {
			t.Fatalf("%d %s", p.StatusCode, p.body)
		}
		if h.logins.count("authorize") != asked {
			t.Error("the provider was asked again")
		}
		if a, w, l := g.cookie(appHost, sessionCookie), g.cookie(wikiHost, sessionCookie), g.cookie(loginHost, sessionCookie); a == w || a == l || w == l {
			t.Error("hosts share a cookie")
		}
	})

	t.Run("starts_on_any_host", func(t *testing.T) {
		g := h.browser(h.alice)
		for _, target := range []string{"https://app.example.com/.sallyport/login?return_to=/x", "https://login.example.com/.sallyport/login?return_to=https://app.example.com/x",
			"https://wiki.example.com/.sallyport/login?return_to=https%3A%2F%2Fapp.example.com%2Fx"} {
			for _, still := range []string{"nobody", "somebody"} {
				if p := g.open(target); p.StatusCode != 200 || !strings.Contains(p.body, "GET /x by alice@") {
					t.Errorf("as %s from %s: %d %s", still, target, p.StatusCode, p.body)
				}
			}
			g.press(appHost, "")
		}
	})

	t.Run("cookies_are_bound_to_host", func(t *testing.T) {
		g, thief := h.browser(h.alice), h.browser(h.bob)
		g.open("https://app.example.com/")
		for _, from := range []string{appHost, loginHost} {
			thief.plant(wikiHost, sessionCookie, g.cookie(from, sessionCookie))
			if p := thief.ask("GET", "https://wiki.example.com/team", nil); p.StatusCode != 401 {
				t.Errorf("a cookie of %s opens the wiki: %d", from, p.StatusCode)
			}
		}
	})

	t.Run("cookies_have_safe_attributes", func(t *testing.T) {
		g := h.browser(h.alice)
		target := "https://app.example.com/"
		seen := map[string]bool{}
		for target != "" {
			p := g.step(target)
			for _, c := range p.Cookies() {
				seen[strings.TrimRight(c.Name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstuvwxyz_")] = true
				if !strings.HasPrefix(c.Name, "__Host-sallyport") || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode {
					t.Errorf("%s sets %+v", target, c)
				}
			}
			if strings.Contains(target, "/.sallyport/") && (p.Header.Get("Cache-Control") != "no-store" || p.Header.Get("Referrer-Policy") == "") {
				t.Errorf("%s: %v", target, p.Header)
			}
			target = p.Header.Get("Location")
		}
		if len(seen) < 2 {
			t.Errorf("saw only %v", seen)
		}
	})

	t.Run("denies_unknown_user", func(t *testing.T) {
		g := h.browser(h.stranger)
		before := len(h.sessions.List())
		p := g.open("https://app.example.com/")
		if p.StatusCode != 403 || !strings.Contains(p.body, "not set up here") || !strings.Contains(p.body, "A Stranger") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
		if got := g.names(loginHost); len(got) != 0 || len(h.sessions.List()) != before {
			t.Errorf("has cookies %q; %d sessions, were %d", got, len(h.sessions.List()), before)
		}
	})

	t.Run("denies_inactive_user_without_activating", func(t *testing.T) {
		h.setActive("bob@example.com", false)
		g := h.browser(h.bob)
		p := g.open("https://app.example.com/")
		if p.StatusCode != 403 || !strings.Contains(p.body, "switched off") || g.cookie(loginHost, sessionCookie) != "" {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
		if u, ok := h.directory.Lookup(h.bob.OID); !ok || u.Active {
			t.Error("is active again")
		}
		h.setActive("bob@example.com", true)
	})

	t.Run("user_without_groups_sees_whom_to_ask", func(t *testing.T) {
		g := h.browser(h.bob)
		p := g.open("https://app.example.com/d/1?secret=1")
		for _, want := range []string{"Bob Roe", "GET https://app.example.com/d/1", "owner@example.com", "You may not open this"} {
			if !strings.Contains(p.body, want) {
				t.Errorf("does not say %q", want)
			}
		}
		if p.StatusCode != 403 || strings.Contains(p.body, "secret=1") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})

	t.Run("replaces_older_session", func(t *testing.T) {
		g, attacker := h.browser(h.alice), h.browser(h.mallory)
		attacker.open("https://app.example.com/")
		planted := attacker.cookie(loginHost, sessionCookie)
		callback := g.until("https://app.example.com/", "/.sallyport/callback?")
		g.plant(loginHost, sessionCookie, planted) // while alice is signing in
		if p := g.open(callback); p.StatusCode != 200 || !strings.Contains(p.body, "by alice@") {
			t.Fatalf("%d %s", p.StatusCode, p.body)
		}
		if g.cookie(loginHost, sessionCookie) == planted {
			t.Error("the login took over a session that somebody else prepared")
		}
		if p := attacker.ask("GET", "https://login.example.com/.sallyport/me", nil); p.StatusCode != 401 {
			t.Errorf("the older session goes on: %d", p.StatusCode)
		}
	})

	t.Run("tabs_do_not_interfere", func(t *testing.T) {
		g := h.browser(h.alice)
		one := g.until("https://app.example.com/one", "/.sallyport/callback?")
		two := g.until("https://wiki.example.com/team/two", "/.sallyport/callback?")
		if p := g.open(one); p.StatusCode != 200 || !strings.Contains(p.body, "GET /one ") {
			t.Errorf("the first tab: %d %s", p.StatusCode, p.body)
		}
		if p := g.open(two); p.StatusCode != 200 || !strings.Contains(p.body, "GET /team/two ") {
			t.Errorf("the second tab: %d %s", p.StatusCode, p.body)
		}
	})

	t.Run("limits_flows_in_browser", func(t *testing.T) {
		g := h.browser(h.alice)
		var last string
		for i := range 9 {
			last = g.until(fmt.Sprintf("https://app.example.com/%d", i), "/authorize?")
		}
		flows := 0
		for _, name := range g.names(loginHost) {
			if strings.HasPrefix(name, flowCookie) {
				flows++
			}
		}
		if flows != 5 {
			t.Errorf("%d flows are kept", flows)
		}
		if p := g.open(last); p.StatusCode != 200 || !strings.Contains(p.body, "GET /8 ") {
			t.Errorf("the newest: %d %s", p.StatusCode, p.body)
		}
	})

	t.Run("deletes_invalid_flow_cookies", func(t *testing.T) {
		g := h.browser(h.alice)
		g.plant(loginHost, flowCookie+"AAAAAAAA", "rubbish")
		g.until("https://login.example.com/.sallyport/login", "/authorize?")
		if slices.Contains(g.names(loginHost), flowCookie+"AAAAAAAA") {
			t.Error("an invalid cookie is kept")
		}
	})

	t.Run("stores_nothing_before_sign_in", func(t *testing.T) {
		before, sessions := h.revision(), len(h.sessions.List())
		for range 300 {
			g := h.browser(h.alice)
			g.until("https://app.example.com/", "/authorize?")
		}
		if after := h.revision(); after != before || len(h.sessions.List()) != sessions {
			t.Errorf("the store went from revision %d to %d", before, after)
		}
	})

	t.Run("session_ends_with_deactivation", func(t *testing.T) {
		g := h.browser(h.alice)
		g.open("https://app.example.com/")
		h.setActive("alice@example.com", false)
		if p := g.step("https://app.example.com/"); p.StatusCode != 403 || !strings.Contains(p.body, "switched off") {
			t.Errorf("while off: %d", p.StatusCode)
		}
		h.setActive("alice@example.com", true)
		if p := g.ask("GET", "https://app.example.com/", nil); p.StatusCode != 401 {
			t.Errorf("the old cookie after: %d %s", p.StatusCode, p.body)
		}
		if p := g.open("https://app.example.com/"); p.StatusCode != 200 || !slices.ContainsFunc(g.path, func(s string) bool { return strings.Contains(s, "/authorize?") }) {
			t.Errorf("did not have to sign in anew: %d by %q", p.StatusCode, g.path)
		}
	})

	t.Run("provider_down", func(t *testing.T) {
		g := h.browser(h.alice)
		callback := g.until("https://app.example.com/", "/.sallyport/callback?")
		h.logins.setDown(true)
		defer h.logins.setDown(false)
		if p := g.step(callback); p.StatusCode != 503 || p.Header.Get("Retry-After") == "" || g.cookie(loginHost, sessionCookie) != "" {
			t.Errorf("%d %v", p.StatusCode, p.Header)
		}
		for _, name := range g.names(loginHost) {
			if strings.Contains(name, "-flow-") {
				t.Errorf("the flow cookie %s is left", name)
			}
		}
	})

	t.Run("provider_rejects", func(t *testing.T) {
		g := h.browser(h.alice)
		authorize := must[*url.URL](t)(url.Parse(g.until("https://app.example.com/", "/authorize?")))
		q := url.Values{"state": {authorize.Query().Get("state")}, "error": {"access_denied"}, "error_description": {"<script>no</script>"}}
		p := g.step("https://login.example.com/.sallyport/callback?" + q.Encode())
		if p.StatusCode != 401 || g.cookie(loginHost, sessionCookie) != "" || strings.Contains(p.body, "<script>") || !strings.Contains(p.body, "return_to=https%3A%2F%2Fapp.example.com%2F") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
		for _, name := range g.names(loginHost) {
			if strings.Contains(name, "-flow-") {
				t.Errorf("the flow cookie %s is left: a denial must not undo its deletion", name)
			}
		}
	})
}

func TestCallback(t *testing.T) {
	h := newEnv(t)
	const callback = "https://login.example.com/.sallyport/callback"

	for name, query := range map[string]string{
		"nothing":               "",
		"no state":              "?code=x",
		"a short state":         "?code=x&state=abc",
		"a state nobody made":   "?code=x&state=" + strings.Repeat("A", 43),
		"a state like a header": "?code=x&state=%0d%0aSet-Cookie:a=b",
		"a state of semicolons": "?code=x&state=;;;;;;;;;;",
	} {
		t.Run("rejects_without_flow: "+name, func(t *testing.T) {
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
			t.Errorf("signed in as somebody else: %d", p.StatusCode)
		}
		victim.until("https://app.example.com/", "/authorize?") // with a flow of their own
		if p := victim.step(theirs); p.StatusCode != 400 || victim.cookie(loginHost, sessionCookie) != "" {
			t.Errorf("signed in as somebody else: %d", p.StatusCode)
		}
	})

	t.Run("rejects_flow_of_another_login", func(t *testing.T) {
		g := h.browser(h.alice)
		one := must[*url.URL](t)(url.Parse(g.until("https://app.example.com/", callback+"?")))
		two := must[*url.URL](t)(url.Parse(g.until("https://app.example.com/", callback+"?")))
		q := one.Query()
		q.Set("code", two.Query().Get("code")) // another login's code: the verifier does not fit
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
		if p := g.open(target); p.StatusCode != 200 || p.Request.URL.Path != "/" { // the button for going back
			t.Errorf("again: %d at %s", p.StatusCode, p.Request.URL)
		}
		g.plant(loginHost, flow, copied) // as somebody with a copy would
		if p := g.step(target); p.StatusCode != 401 {
			t.Errorf("with a copy of the flow: %d", p.StatusCode)
		}
	})

	t.Run("sealed_flow_is_no_session", func(t *testing.T) {
		g := h.browser(h.alice)
		state := must[*url.URL](t)(url.Parse(g.until("https://app.example.com/", "/authorize?"))).Query().Get("state")
		sealed := g.cookie(loginHost, flowCookie+state[:8])
		for _, value := range []string{state, sealed, g.cookie(appHost, bindingCookie)} {
			g.plant(loginHost, sessionCookie, value)
			if p := g.ask("GET", "https://login.example.com/.sallyport/me", nil); p.StatusCode != 401 {
				t.Errorf("%.20s… opens: %d", value, p.StatusCode)
			}
		}
	})

	t.Run("not_on_other_host", func(t *testing.T) {
		if p := h.browser(h.alice).step("https://app.example.com/.sallyport/callback?code=x&state=" + strings.Repeat("A", 43)); p.StatusCode != 404 {
			t.Errorf("%d", p.StatusCode)
		}
	})

	t.Run("thousand_logins_stay_separate", func(t *testing.T) {
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

func TestAccept(t *testing.T) {
	h := newEnv(t)
	const accept = "/.sallyport/accept?"

	t.Run("ticket_is_bound_to_browser", func(t *testing.T) {
		g, victim := h.browser(h.mallory), h.browser(h.alice)
		theirs := g.until("https://app.example.com/", accept)
		if p := victim.step(theirs); p.StatusCode != 400 || victim.cookie(appHost, sessionCookie) != "" {
			t.Errorf("a stranger's link signs in: %d", p.StatusCode)
		}
		if p := g.step(theirs); p.StatusCode != 400 || g.cookie(appHost, sessionCookie) != "" {
			t.Errorf("a ticket that was tried elsewhere is still good: %d", p.StatusCode)
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
			t.Errorf("without the session: %d", p.StatusCode)
		}
	})

	t.Run("ticket_is_bound_to_host", func(t *testing.T) {
		g := h.browser(h.alice)
		g.until("https://wiki.example.com/team", accept)
		g.plant(wikiHost, bindingCookie, g.cookie(appHost, bindingCookie))
		link := must[*url.URL](t)(url.Parse(g.until("https://app.example.com/", accept)))
		link.Host = wikiHost
		g.plant(wikiHost, bindingCookie, g.cookie(appHost, bindingCookie))
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
			t.Errorf("revived: %d", p.StatusCode)
		}
	})
}

func TestLogout(t *testing.T) {
	h := newEnv(t)
	in := func(t *testing.T) *browser {
		g := h.browser(h.alice)
		g.open("https://app.example.com/")
		g.open("https://wiki.example.com/team")
		return g
	}
	out := func(t *testing.T, g *browser, want bool) {
		t.Helper()
		for _, target := range []string{"https://app.example.com/", "https://wiki.example.com/team", "https://login.example.com/.sallyport/me"} {
			if p := g.ask("GET", target, nil); (p.StatusCode == 401) != want {
				t.Errorf("%s: %d", target, p.StatusCode)
			}
		}
	}

	for _, host := range []string{appHost, wikiHost, loginHost} {
		t.Run("ends_session_everywhere_on_"+host, func(t *testing.T) {
			g := in(t)
			copied := h.browser(h.alice)
			copied.plant(appHost, sessionCookie, g.cookie(appHost, sessionCookie))
			p := g.press(host, "")
			if p.StatusCode != 200 || !strings.Contains(p.body, "You are signed out") || !strings.Contains(p.body, "/oauth2/v2.0/logout") {
				t.Errorf("%d %s", p.StatusCode, p.body)
			}
			if g.cookie(host, sessionCookie) != "" {
				t.Error("the cookie is still there")
			}
			out(t, g, true)
			for _, path := range []string{"/", "/.sallyport/me"} {
				if p := copied.ask("GET", "https://app.example.com"+path, nil); p.StatusCode != 401 || !strings.Contains(p.body, `"reason":"session_ended"`) {
					t.Errorf("a copied cookie on %s: %d %s", path, p.StatusCode, p.body)
				}
			}
		})
	}

	t.Run("link_asks_first", func(t *testing.T) {
		g := in(t)
		p := g.step("https://app.example.com/.sallyport/logout?return_to=/x")
		if p.StatusCode != 200 || !strings.Contains(p.body, `method="post"`) || !strings.Contains(p.body, "Alice Ng") || !strings.Contains(p.body, `value="https://app.example.com/x"`) {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
		out(t, g, false)
	})

	for name, header := range map[string][]string{
		"another site":              {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		"another host of ours":      {"Sec-Fetch-Site", "same-site", "Origin", "https://wiki.example.com"},
		"an old browser elsewhere":  {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
		"a sandboxed frame":         {"Sec-Fetch-Site", "cross-site", "Origin", "null"},
		"an old sandboxed frame":    {"Sec-Fetch-Site", "", "Origin", "null"},
		"a host that looks like it": {"Sec-Fetch-Site", "", "Origin", "https://app.example.com.evil.example"},
	} {
		t.Run("rejects_post_by: "+name, func(t *testing.T) {
			g := in(t)
			if p := g.press(appHost, "", header...); p.StatusCode != 403 {
				t.Errorf("%d", p.StatusCode)
			}
			out(t, g, false)
		})
	}

	t.Run("follows_return_to_on_our_hosts", func(t *testing.T) {
		for form, want := range map[string]string{
			"return_to=/x": "https://app.example.com/x",
			"return_to=https%3A%2F%2Fwiki.example.com%2F": "https://wiki.example.com/",
			"return_to=https%3A%2F%2Flogin.example.com":   "https://login.example.com/",
		} {
			if p := in(t).press(appHost, form); p.StatusCode != 303 || p.Header.Get("Location") != want {
				t.Errorf("%s: %d to %q", form, p.StatusCode, p.Header.Get("Location"))
			}
		}
		if p := in(t).press(appHost, "return_to=https%3A%2F%2Fevil.example%2F"); p.StatusCode != 200 || p.Header.Get("Location") != "" {
			t.Errorf("%d to %q", p.StatusCode, p.Header.Get("Location"))
		}
		if p := in(t).press(appHost, "return_to="+strings.Repeat("x", 1<<20)); p.StatusCode != 200 {
			t.Errorf("a megabyte: %d", p.StatusCode)
		}
	})

	t.Run("program_gets_no_page", func(t *testing.T) {
		g := in(t)
		if p := g.press(appHost, "", "Accept", "application/json", "Sec-Fetch-Mode", "cors"); p.StatusCode != 204 || p.body != "" {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
		out(t, g, true)
	})

	t.Run("rejects_other_methods", func(t *testing.T) {
		g := in(t)
		for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "logout"} {
			if p := g.ask(method, "https://app.example.com/.sallyport/logout", nil); p.StatusCode != 405 || p.Header.Get("Allow") != "GET, HEAD, POST" {
				t.Errorf("%s: %d, Allow %q", method, p.StatusCode, p.Header.Get("Allow"))
			}
		}
		out(t, g, false)
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
		g := in(t)
		g.plant(appHost, sessionCookie, strings.Repeat("A", 43))
		p := g.press(appHost, "")
		if p.StatusCode != 303 || p.Header.Get("Location") != "https://login.example.com/.sallyport/logout?return_to=https%3A%2F%2Fapp.example.com%2F" {
			t.Fatalf("%d to %s", p.StatusCode, p.Header.Get("Location"))
		}
		if p := g.step(p.Header.Get("Location")); !strings.Contains(p.body, "Alice Ng") || !strings.Contains(p.body, `method="post"`) {
			t.Errorf("does not ask: %s", p.body)
		}
		g.press(loginHost, "")
		out(t, g, true)
	})

	t.Run("new_login_after_logout", func(t *testing.T) {
		g := in(t)
		g.press(appHost, "")
		if p := g.open("https://app.example.com/"); p.StatusCode != 200 {
			t.Errorf("%d", p.StatusCode)
		}
	})
}

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
		User    map[string]any
		Groups  []map[string]string
		Session map[string]any
		Token   map[string]any
		Rev     uint64 `json:"directory_revision"`
	}
	read := func(t *testing.T, header ...string) (a response) {
		t.Helper()
		p := g.ask("GET", url, nil, header...)
		if p.StatusCode != 200 || p.Header.Get("Content-Type") != "application/json" || p.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %v", p.StatusCode, p.Header)
		}
		if err := json.Unmarshal([]byte(p.body), &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	t.Run("describes_browser", func(t *testing.T) {
		a := read(t)
		if a.User["user_name"] != "alice@example.com" || a.User["display_name"] != "Alice Ng" || a.User["external_id"] != h.alice.OID || len(a.Session["id"].(string)) != 32 ||
			len(a.Groups) != 1 || !maps.Equal(a.Groups[0], map[string]string{"id": "g-sre", "name": "SRE"}) || a.Rev != h.directory.Revision() || a.Token != nil {
			t.Errorf("%+v", a)
		}
	})
	t.Run("describes_program", func(t *testing.T) {
		a := read(t, "Authorization", "Bearer "+h.tenant.AccessToken(h.mallory, audience, nil))
		if a.User["user_name"] != "mallory@example.com" || a.Session != nil || a.Token["issuer"] != h.tenant.Issuer() {
			t.Errorf("%+v", a)
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
		h.leave("alice@example.com")
		if a := read(t); len(a.Groups) != 0 {
			t.Errorf("%+v", a)
		}
		h.setActive("alice@example.com", false)
		if p := g.ask("GET", url, nil); p.StatusCode != 403 {
			t.Errorf("%d", p.StatusCode)
		}
	})
}

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
		h.leave("alice@example.com")
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

func TestLogin_ProgramsGetProblems(t *testing.T) {
	h := newEnv(t)
	g := h.browser(h.alice)
	for name, header := range map[string][]string{
		"curl":     {"Accept", "*/*"},
		"fetch":    {"Accept", "text/html", "Sec-Fetch-Mode", "cors"},
		"XHR":      {"Accept", "text/html", "X-Requested-With", "XMLHttpRequest"},
		"JSON":     {"Accept", "application/json"},
		"a socket": {"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
	} {
		t.Run(name+" gets a challenge, not a login page", func(t *testing.T) {
			p := g.ask("GET", "https://app.example.com/x", nil, header...)
			if p.StatusCode != 401 || p.Header.Get("WWW-Authenticate") != `Bearer realm="sallyport"` || p.Header.Get("Location") != "" || len(p.Cookies()) != 0 {
				t.Errorf("%d %v", p.StatusCode, p.Header)
			}
		})
	}
	t.Run("browser_on_token_route_gets_page", func(t *testing.T) {
		if p := g.step("https://api.example.com/"); p.StatusCode != 401 || p.Header.Get("Location") != "" {
			t.Errorf("%d %v", p.StatusCode, p.Header)
		}
	})
	t.Run("denied_program_gets_problem", func(t *testing.T) {
		p := g.ask("GET", "https://api.example.com/x?a=s3cret", nil, "Authorization", "Bearer "+h.tenant.AccessToken(h.bob, audience, nil))
		var got map[string]any
		if err := json.Unmarshal([]byte(p.body), &got); err != nil || p.StatusCode != 403 || got["reason"] != "no_rule" || got["request"] == "" || got["status"] != 403.0 || strings.Contains(p.body, "s3cret") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
	t.Run("assertion_keys_are_public", func(t *testing.T) {
		p := g.ask("GET", "https://api.example.com/.sallyport/jwks.json", nil)
		var set struct{ Keys []map[string]string }
		if err := json.Unmarshal([]byte(p.body), &set); err != nil || p.StatusCode != 200 || len(set.Keys) == 0 || set.Keys[0]["crv"] != "P-256" || set.Keys[0]["d"] != "" {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
	t.Run("unknown_internal_paths_are_not_found", func(t *testing.T) {
		for _, path := range []string{"/.sallyport/", "/.sallyport", "/.sallyport/x", "/.sallyport/login/x", "/.sallyport/Login"} {
			if p := g.ask("GET", "https://app.example.com"+path, nil); p.StatusCode != 404 {
				t.Errorf("%s: %d", path, p.StatusCode)
			}
		}
	})
}

func TestLogin_IsRecorded(t *testing.T) {
	h := newEnv(t)
	g := h.browser(h.alice)
	g.open("https://app.example.com/?q=canary-query")
	g.open("https://wiki.example.com/team")
	h.browser(h.stranger).open("https://app.example.com/")
	h.browser(h.alice).step("https://login.example.com/.sallyport/callback?code=canary-code&state=canary-state-of-nobody")
	sessions := h.sessions.List()
	g.press(appHost, "")

	logins, logouts := h.events(audit.KindLogin), h.events(audit.KindLogout)
	t.Run("in_audit_record", func(t *testing.T) {
		if len(logins) != 2 || len(logouts) != 1 || len(sessions) != 1 {
			t.Fatalf("logins %q, logouts %q, %d sessions", logins, logouts, len(sessions))
		}
		for line, wants := range map[string][]string{
			logins[0]:  {`"decision":"allow"`, `"reason":"signed_in"`, `"user_name":"alice@example.com"`, `"session":"` + sessions[0].ID + `"`, `"address":"127.0.0.1"`},
			logins[1]:  {`"decision":"deny"`, `"reason":"unknown_user"`, `"code":403`},
			logouts[0]: {`"session":"` + sessions[0].ID + `"`, `"reason":"logout"`, `"user_name":"alice@example.com"`, `"host":"app.example.com"`},
		} {
			for _, want := range wants {
				if !strings.Contains(line, want) {
					t.Errorf("%s lacks %s", line, want)
				}
			}
		}
	})
	t.Run("in_metrics", func(t *testing.T) {
		for _, c := range []struct {
			result, reason string
			want           float64
		}{{"allow", "signed_in", 1}, {"deny", "unknown_user", 1}, {"error", "unknown_flow", 1}} {
			if got := h.count(c.result, c.reason); got != c.want {
				t.Errorf("%s %s: %v, want %v", c.result, c.reason, got, c.want)
			}
		}
	})
	t.Run("without_secrets", func(t *testing.T) {
		written := h.log.String() + string(must[[]byte](t)(os.ReadFile(h.auditFile)))
		secrets := append(slices.Clone(g.setAll), "canary-query", "canary-code", "canary-state", "canary-client-secret")
		for _, secret := range secrets {
			if secret != "" && strings.Contains(written, secret) {
				t.Errorf("%q was written down", secret)
			}
		}
		if len(g.setAll) < 5 || len(written) < 100 {
			t.Errorf("saw only %d cookies and %d bytes", len(g.setAll), len(written))
		}
	})
}

func TestLogin_DeniesInDoubt(t *testing.T) {
	for name, c := range map[string]struct {
		doubt  func(h *env)
		status int
		says   string
	}{
		"a record of theirs is damaged": {func(h *env) {
			h.write("group/", []byte("{"))
			h.change(func(tx *directory.Tx) error { return tx.PutUser(&directory.User{UserName: "later"}) }) // memory has what came before, too
		}, 403, "cannot be read"},
		"the directory no longer follows the store": {func(h *env) { h.stopDirectory() }, 503, "not up to date"},
		"sessions no longer follow the store":       {func(h *env) { h.stopSessions() }, 503, "Sessions cannot be written"},
		"what happens cannot be recorded":           {func(h *env) { h.record.Close() }, 503, "the record cannot be written"},
		"the provider is not there":                 {func(h *env) { h.logins.setDown(true) }, 503, "does not respond"},
	} {
		t.Run("denies_when: "+name, func(t *testing.T) {
			h := newEnv(t)
			g := h.browser(h.alice)
			callback := g.until("https://app.example.com/", "/.sallyport/callback?")
			c.doubt(h)
			p := g.step(callback)
			if p.StatusCode != c.status || !strings.Contains(p.body, c.says) || g.cookie(loginHost, sessionCookie) != "" {
				t.Errorf("%d, cookies %q: %s", p.StatusCode, g.names(loginHost), p.body)
			}
			if (c.status == 503) != (p.Header.Get("Retry-After") != "") {
				t.Errorf("Retry-After %q", p.Header.Get("Retry-After"))
			}
			for _, one := range h.sessions.List() {
				t.Errorf("left session %s", one.ID)
			}
		})
	}

	t.Run("logout_fails_without_store", func(t *testing.T) {
		h := newEnv(t)
		g := h.browser(h.alice)
		g.open("https://app.example.com/")
		h.stopSessions()
		if p := g.press(appHost, ""); p.StatusCode != 503 || g.cookie(appHost, sessionCookie) == "" {
			t.Errorf("%d", p.StatusCode)
		}
	})

	t.Run("logout_works_without_audit", func(t *testing.T) {
		h := newEnv(t)
		g := h.browser(h.alice)
		g.open("https://app.example.com/")
		h.record.Close()
		if p := g.press(appHost, ""); p.StatusCode != 200 || len(h.sessions.List()) != 0 {
			t.Errorf("%d, %d sessions", p.StatusCode, len(h.sessions.List()))
		}
	})
}
