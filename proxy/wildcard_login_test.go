package proxy_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sallyport/proxy"
)

// addWildcard adds a route for *.example.com, which covers the hosts of all others.
func (h *env) addWildcard() {
	h.t.Helper()
	h.settings.Routes = append(h.settings.Routes, proxy.Route{Name: "previews", Host: "*.example.com", Upstream: h.settings.Routes[0].Upstream, Policy: h.settings.Routes[0].Policy})
	if err := h.proxy.Load(h.settings); err != nil {
		h.t.Fatal(err)
	}
}

// TestWildcard_SignIn signs in on a host of a wildcard, and comes to another one without signing in again. Each gets a
// cookie of its own.
func TestWildcard_SignIn(t *testing.T) {
	h := newEnv(t)
	h.addWildcard()
	g := h.browser(h.alice)
	for _, host := range []string{"pr-7.example.com", "pr-8.example.com", "pr-7.example.com"} {
		if p := g.open("https://" + host + "/d?x=1"); p.StatusCode != http.StatusOK || p.Request.URL.String() != "https://"+host+"/d?x=1" {
			t.Fatalf("%s: %d at %s, by way of %q", host, p.StatusCode, p.Request.URL, g.path)
		}
		if g.cookie(host, sessionCookie) == "" {
			t.Errorf("%s has no cookie", host)
		}
	}
	if g.cookie("pr-7.example.com", sessionCookie) == g.cookie("pr-8.example.com", sessionCookie) || g.cookie("pr-9.example.com", sessionCookie) != "" {
		t.Error("hosts share a cookie")
	}
	if n := h.logins.count("authorize"); n != 1 {
		t.Errorf("there were %d sign-ins", n)
	}
	if p := h.browser(h.bob).open("https://pr-7.example.com/"); p.StatusCode != http.StatusForbidden {
		t.Errorf("whoever is in no group gets %d", p.StatusCode)
	}
	for _, host := range []string{"a.b.example.com", "xn--bcher-kva.example.com", "a_b.example.com"} {
		if p := g.ask("GET", "https://login.example.com/.sallyport/login?return_to="+url.QueryEscape("https://"+host+"/x"), nil, "Accept", navigate); strings.Contains(p.Header.Get("Location"), host) {
			t.Errorf("the login leads to %s", p.Header.Get("Location"))
		}
	}
	if p := g.ask("GET", "https://login.example.com/.sallyport/login?return_to="+url.QueryEscape("https://pr-9.example.com/x"), nil, "Accept", navigate); !strings.HasPrefix(p.Header.Get("Location"), "https://pr-9.example.com/.sallyport/") {
		t.Errorf("the login leads to %s", p.Header.Get("Location"))
	}
	if p := g.press("pr-7.example.com", "", "Origin", "https://pr-7.example.com"); p.StatusCode/100 > 3 {
		t.Errorf("signing out: %d %s", p.StatusCode, p.body)
	}
	if p := g.ask("GET", "https://pr-8.example.com/", nil); p.StatusCode != http.StatusUnauthorized {
		t.Errorf("after signing out elsewhere: %d", p.StatusCode)
	}
}

// TestWildcard_RequestAccess asks for access on a host of a wildcard: whoever decides sees that host, and none that the
// route does not serve.
func TestWildcard_RequestAccess(t *testing.T) {
	h := newAccessEnv(t, nil)
	for i := range h.settings.Routes {
		if h.settings.Routes[i].Host == reportsHost {
			h.settings.Routes[i].Host = "*.example.com"
		}
	}
	if err := h.proxy.Load(h.settings); err != nil {
		t.Fatal(err)
	}
	bob, alice := h.browser(h.bob), h.browser(h.alice)
	if p := bob.open("https://pr-7.example.com/d"); p.StatusCode != http.StatusForbidden || !strings.Contains(p.body, `action="/.sallyport/request"`) {
		t.Fatalf("the page of the denial: %d %s", p.StatusCode, p.body)
	}
	p := bob.submit("https://pr-7.example.com/.sallyport/request", form("reports", "/d", "I am on call"))
	link := requestLink.FindString(p.body)
	if seen := alice.open(link); link == "" || !strings.Contains(seen.body, "https://pr-7.example.com/d") {
		t.Fatalf("the page for an approver: %d %s", seen.StatusCode, seen.body)
	}
	if p := alice.submit(link, "do=approve&for=30m"); p.StatusCode != http.StatusSeeOther {
		t.Fatalf("approving: %d %s", p.StatusCode, p.body)
	}
	for host, want := range map[string]int{"pr-7.example.com": 200, "pr-8.example.com": 200, wikiHost: 404} {
		if p := bob.open("https://" + host + "/d"); p.StatusCode != want {
			t.Errorf("%s: %d", host, p.StatusCode)
		}
	}
}
