package proxy_test

import (
	cryptorand "crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"sallyport/proxy"
)

// openTogether opens targets in tabs of one browser, in lockstep: all tabs send their next request with the cookies of
// the same moment, and the browser stores the cookies of the responses afterwards, in random order.
func (g *browser) openTogether(targets []string) []page {
	g.t.Helper()
	g.client.Jar = nil
	defer func() { g.client.Jar = g.jar }()
	pages := make([]page, len(targets))
	next := slices.Clone(targets)
	for range 20 {
		var all sync.WaitGroup
		open := 0
		for i, target := range next {
			if target == "" {
				continue
			}
			open++
			if strings.Contains(target, "/authorize?") {
				target += "&account=" + url.QueryEscape(g.person.OID)
			}
			header := []string{"Accept", navigate, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}
			var cookies []string
			for _, c := range g.jar.Cookies(must[*url.URL](g.t)(url.Parse(target))) {
				cookies = append(cookies, c.Name+"="+c.Value)
			}
			if len(cookies) > 0 {
				header = append(header, "Cookie", strings.Join(cookies, "; "))
			}
			all.Go(func() { pages[i] = g.ask("GET", target, nil, header...) })
		}
		all.Wait()
		if open == 0 {
			return pages
		}
		for _, i := range rand.Perm(len(next)) {
			if next[i] == "" {
				continue
			}
			p := pages[i]
			g.jar.SetCookies(p.Request.URL, p.Cookies())
			if next[i] = p.Header.Get("Location"); next[i] != "" {
				next[i] = must[*url.URL](g.t)(p.Request.URL.Parse(next[i])).String()
			}
		}
	}
	g.t.Fatalf("redirected in circles: %q", next)
	return nil
}

// tabTargets returns n pages of both applications.
func tabTargets(n int, query string) (targets []string) {
	for i := range n {
		host, path := appHost, "/tab/"
		if i%3 == 2 {
			host, path = wikiHost, "/team/tab/"
		}
		targets = append(targets, fmt.Sprintf("https://%s%s%d%s", host, path, i, query))
	}
	return targets
}

func checkArrived(t *testing.T, targets []string, pages []page) {
	t.Helper()
	for i, p := range pages {
		u := must[*url.URL](t)(url.Parse(targets[i]))
		if p.StatusCode != 200 || !strings.HasPrefix(p.body, "the application saw GET "+u.RequestURI()+" by alice@") {
			t.Errorf("tab %d: %d %.200s at %.200s", i, p.StatusCode, p.body, p.Request.URL)
		}
	}
}

// TestLogin_Tabs checks that every tab and frame arrives, whatever the others do meanwhile.
func TestLogin_Tabs(t *testing.T) {
	h := newEnv(t)
	for _, n := range []int{1, 2, 5, 14, 25} {
		t.Run(fmt.Sprintf("together_%d", n), func(t *testing.T) {
			targets := tabTargets(n, "?a=b")
			checkArrived(t, targets, h.browser(h.alice).openTogether(targets))
		})
		t.Run(fmt.Sprintf("together_with_addresses_of_700_bytes_%d", n), func(t *testing.T) {
			targets := tabTargets(n, "?q="+strings.Repeat("x", 700))
			checkArrived(t, targets, h.browser(h.alice).openTogether(targets))
		})
		t.Run(fmt.Sprintf("of_second_application_%d", n), func(t *testing.T) {
			g := h.browser(h.alice)
			g.open("https://wiki.example.com/team")
			var targets []string
			for i := range n {
				targets = append(targets, fmt.Sprintf("https://app.example.com/tab/%d", i))
			}
			checkArrived(t, targets, g.openTogether(targets))
		})
		if n > 14 { // more flows than maxFlowBytes holds: the oldest of these tabs get a page that leads on
			continue
		}
		t.Run(fmt.Sprintf("wait_at_provider_%d", n), func(t *testing.T) {
			g := h.browser(h.alice)
			targets := tabTargets(n, "")
			var callbacks []string
			for _, target := range targets {
				callbacks = append(callbacks, g.until(target, "/.sallyport/callback?"))
			}
			slices.Reverse(callbacks)
			slices.Reverse(targets)
			checkArrived(t, targets, g.openTogether(callbacks))
		})
		t.Run(fmt.Sprintf("one_after_another_%d", n), func(t *testing.T) {
			g := h.browser(h.alice)
			targets := tabTargets(n, "")
			var callbacks []string
			for _, target := range targets {
				callbacks = append(callbacks, g.until(target, "/.sallyport/callback?"))
			}
			var pages []page
			for _, callback := range callbacks {
				pages = append(pages, g.open(callback))
			}
			checkArrived(t, targets, pages)
		})
	}
	t.Run("login_sent_before_another_tab_was_signed_in", func(t *testing.T) {
		g := h.browser(h.alice)
		targets := tabTargets(2, "")
		first := g.until(targets[0], "/.sallyport/accept?")
		login := g.until(targets[1], "/.sallyport/login?")
		late := h.browser(h.alice) // the same browser when it had no cookie: the request is on its way all the time
		callback := late.until(login, "/.sallyport/callback?")
		for _, c := range late.jar.Cookies(&url.URL{Scheme: "https", Host: loginHost, Path: "/"}) {
			g.plant(loginHost, c.Name, c.Value)
		}
		second := g.until(callback, "/.sallyport/accept?")
		checkArrived(t, targets, []page{g.open(first), g.open(second)})
	})
	t.Run("leave_no_flow", func(t *testing.T) {
		g := h.browser(h.alice)
		g.openTogether(tabTargets(5, ""))
		if got := g.names(loginHost); !slices.Equal(got, []string{sessionCookie}) {
			t.Errorf("%q", got)
		}
	})
}

// TestLogin_LongAddresses checks that an address of any length that the server reads is still there after the login.
func TestLogin_LongAddresses(t *testing.T) {
	h := newEnv(t)
	for _, n := range []int{100, 900, 1100, 2100, 4000, 8000, 12000, 16000} {
		for name, text := range map[string]string{"plain": "x", "ampersands": "a=b&", "encoded": "%22", "random": ""} {
			t.Run(fmt.Sprintf("%s_%d", name, n), func(t *testing.T) {
				if text == "" {
					text = randomText(n)
				}
				target := "https://app.example.com/d?q=" + strings.Repeat(text, n/len(text))
				checkArrived(t, []string{target}, []page{h.browser(h.alice).open(target)})
			})
		}
	}
	for _, n := range []int{2, 5, 14} {
		t.Run(fmt.Sprintf("together_%d", n), func(t *testing.T) {
			// such as a dashboard's: https://app.example.com/tab/0?panel-1=rate(http_requests_total%7Bpod%3D~%22pod-1%22%7D)&…
			var query strings.Builder
			for i := range 80 {
				fmt.Fprintf(&query, "&panel-%d=rate(http_requests_total%%7Bpod%%3D~%%22pod-%d%%22%%7D%%5B5m%%5D)", i, i*i)
			}
			targets := tabTargets(n, "?"+query.String()[1:])
			checkArrived(t, targets, h.browser(h.alice).openTogether(targets))
		})
	}
	t.Run("two_together", func(t *testing.T) {
		targets := tabTargets(2, "?q="+randomText(1900))
		checkArrived(t, targets, h.browser(h.alice).openTogether(targets))
	})
}

// randomText returns n characters that cannot be compressed well.
func randomText(n int) string {
	var text strings.Builder
	for text.Len() < n {
		text.WriteString(cryptorand.Text())
	}
	return text.String()[:n]
}

// TestLogin_LostFlow checks that a login whose cookie is gone still leads to the page that was asked for.
func TestLogin_LostFlow(t *testing.T) {
	h := newEnv(t)
	const target = "https://app.example.com/d/1?from=now-6h"
	callback := func(g *browser) string {
		link := g.until(target, "/.sallyport/callback?")
		for _, name := range g.names(loginHost) {
			if strings.HasPrefix(name, flowCookie) {
				g.jar.SetCookies(&url.URL{Scheme: "https", Host: loginHost}, []*http.Cookie{{Name: name, Path: "/", MaxAge: -1}})
			}
		}
		return link
	}
	t.Run("continues_with_session", func(t *testing.T) {
		g := h.browser(h.alice)
		link := callback(g)
		g.open("https://wiki.example.com/team") // another tab
		checkArrived(t, []string{target}, []page{g.open(link)})
	})
	t.Run("offers_the_page_again", func(t *testing.T) {
		g := h.browser(h.alice)
		p := g.step(callback(g))
		if p.StatusCode != 400 || !strings.Contains(p.body, "return_to="+url.QueryEscape(target)) {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
	t.Run("back_button", func(t *testing.T) {
		g := h.browser(h.alice)
		link := g.until(target, "/.sallyport/callback?")
		g.open(link)
		checkArrived(t, []string{target}, []page{g.open(link)})
	})
	t.Run("outlives_an_hour", func(t *testing.T) {
		g := h.browser(h.alice)
		p := g.step(g.until(target, "/.sallyport/login?"))
		if c := p.Cookies(); len(c) != 1 || c[0].MaxAge < 3600 {
			t.Errorf("%v", c)
		}
	})
	t.Run("forged_state_leads_nowhere", func(t *testing.T) {
		g := h.browser(h.alice)
		g.open("https://wiki.example.com/team")
		for _, state := range []string{"AAAAAAAAAAAAAAAAAAAAAAAAAA.https://evil.example/", "AAAAAAAAAAAAAAAAAAAAAAAAAA.", strings.Repeat("A", 26)} {
			p := g.open("https://login.example.com/.sallyport/callback?code=x&state=" + url.QueryEscape(state))
			if p.Request.URL.String() != "https://login.example.com/" {
				t.Errorf("%s leads to %s", state, p.Request.URL)
			}
		}
	})
}

// TestLogin_LenientPaths checks that the way back accepts what a route accepts.
func TestLogin_LenientPaths(t *testing.T) {
	h := newEnv(t)
	s := h.settings
	s.Routes = append(slices.Clone(s.Routes), proxy.Route{Name: "files", Host: "files.example.com", Upstream: s.Routes[0].Upstream, Policy: []string{"sre"}, PathEncoding: "lenient"})
	if err := h.proxy.Load(s); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/a%2Fb/c", "/a;b=c", "/a//b", "/a%3Bx?y=z", "/a%5Cb", "/100%25", "/%2Fx"} {
		target := "https://files.example.com" + path
		if p := h.browser(h.alice).open(target); p.StatusCode != 200 || !strings.Contains(p.body, " by alice@") || p.Request.URL.String() != target {
			t.Errorf("%s: %d %s at %s", path, p.StatusCode, p.body, p.Request.URL)
		}
	}
}

// TestLogin_BindingOfStranger checks that the login address takes no binding from a stranger's link.
func TestLogin_BindingOfStranger(t *testing.T) {
	h := newEnv(t)
	const accept = "/.sallyport/accept?"
	stranger := h.browser(h.mallory)
	value := strings.Repeat("A", 43)
	sum := sha256.Sum256([]byte(value))
	theirs := url.Values{"return_to": {"https://app.example.com/x"}, "bind": {base64.RawURLEncoding.EncodeToString(sum[:])}}
	links := map[string]url.Values{"bind_alone": theirs}
	if own, err := url.Parse(stranger.until("https://app.example.com/x", "&handoff=")); err == nil { // with a handoff of their own
		q := own.Query()
		q.Set("bind", theirs.Get("bind"))
		links["with_own_handoff"] = q
	}
	for name, q := range links {
		for _, signedIn := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s_%v", name, signedIn), func(t *testing.T) {
				victim := h.browser(h.alice)
				if signedIn {
					victim.open("https://wiki.example.com/team")
				}
				link := victim.until("https://login.example.com/.sallyport/login?"+q.Encode(), accept)
				if strings.Contains(link, theirs.Get("bind")) {
					t.Errorf("the ticket is for the stranger's browser: %s", link)
				}
				thief := h.browser(h.mallory)
				for _, name := range []string{"__Host-sallyport-door", bindingCookie + theirs.Get("bind")[:8]} {
					thief.plant(appHost, name, value)
				}
				if p := thief.step(link); p.StatusCode != 400 || thief.cookie(appHost, sessionCookie) != "" {
					t.Errorf("the stranger is signed in by %s: %d", link, p.StatusCode)
				}
				if p := victim.open("https://login.example.com/.sallyport/login?" + q.Encode()); p.StatusCode != 200 || !strings.Contains(p.body, "GET /x by alice@") {
					t.Errorf("the person does not arrive: %d %s", p.StatusCode, p.body)
				}
			})
		}
	}
	t.Run("stranger_cannot_prepare_browser", func(t *testing.T) {
		thief, victim := h.browser(h.mallory), h.browser(h.alice)
		bound := thief.until("https://app.example.com/x", "&handoff=")
		handoff := must[*url.URL](t)(url.Parse(bound)).Query().Get("handoff")
		victim.step("https://app.example.com/.sallyport/login?return_to=/x&handoff=" + url.QueryEscape(handoff))
		if p := victim.step(thief.until(bound, accept)); p.StatusCode != 400 || victim.cookie(appHost, sessionCookie) != "" {
			t.Errorf("signed in as the stranger: %d", p.StatusCode)
		}
	})
	t.Run("bindings_are_bounded", func(t *testing.T) {
		g := h.browser(h.alice)
		for range 200 {
			g.step("https://app.example.com/.sallyport/login?return_to=/x&handoff=x")
		}
		total := 0
		for _, c := range g.jar.Cookies(&url.URL{Scheme: "https", Host: appHost, Path: "/"}) {
			total += len(c.Name) + len(c.Value)
		}
		if total == 0 || total > 4<<10 {
			t.Errorf("%d bytes", total)
		}
	})
}
