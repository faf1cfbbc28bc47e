package proxy_test

import (
	"context"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"sallyport/directory"
	"sallyport/proxy"
	"sallyport/session"
)

const (
	urlEncoded = "application/x-www-form-urlencoded"
	saveURL    = "https://app.example.com/save?page=1"
)

// received is a request as an application received it.
type received struct {
	method, uri, user, body string
	header                  http.Header
}

// formsEnv is an env whose application keeps what it received, behind a route that keeps forms.
type formsEnv struct {
	*env
	mu  sync.Mutex // guards all
	all []received
}

func newFormsEnv(t *testing.T, change func(*proxy.Route)) *formsEnv {
	t.Helper()
	h := &formsEnv{env: newEnv(t)}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.all = append(h.all, received{r.Method, r.URL.RequestURI(), r.Header.Get("X-Forwarded-User"), string(body), r.Header})
		io.WriteString(w, "saved")
	}))
	t.Cleanup(app.Close)
	h.settings.Routes = slices.Clone(h.settings.Routes)
	r := &h.settings.Routes[0]
	r.Upstream, r.KeepForms = proxy.Upstreams{app.URL}, true
	if change != nil {
		change(r)
	}
	if err := h.proxy.Load(h.settings); err != nil {
		t.Fatal(err)
	}
	return h
}

// posts returns the changes that the application received since the last call.
func (h *formsEnv) posts() (posts []received) {
	h.mu.Lock()
	defer h.mu.Unlock()
	posts = slices.DeleteFunc(h.all, func(r received) bool { return r.method == "GET" })
	h.all = nil
	return posts
}

// restoreToGroup adds a user to the group SRE again.
func (h *formsEnv) restoreToGroup(userName string) {
	h.t.Helper()
	h.change(func(tx *directory.Tx) error {
		u, err := tx.UserByName(userName)
		if err != nil {
			return err
		}
		g, err := tx.GroupByExternalID("g-sre")
		if err != nil {
			return err
		}
		_, err = tx.AddMembers(g.ID, []string{u.ID})
		return err
	})
}

// signedIn returns a browser that is signed in at the application.
func (h *formsEnv) signedIn() *browser {
	h.t.Helper()
	g := h.browser(h.alice)
	if p := g.open("https://app.example.com/"); p.StatusCode != 200 {
		h.t.Fatalf("%d %s", p.StatusCode, p.body)
	}
	return g
}

// endSessions ends the sessions of all users as their idle time does.
func (h *formsEnv) endSessions() {
	h.t.Helper()
	for _, s := range h.sessions.List() {
		if err := h.sessions.End(context.Background(), s.ID, session.ReasonIdle); err != nil {
			h.t.Fatal(err)
		}
	}
}

// post submits a form of a page of the application.
func (g *browser) post(target, contentType, body string, header ...string) page {
	g.t.Helper()
	u := must[*url.URL](g.t)(url.Parse(target))
	return g.ask("POST", target, strings.NewReader(body), append([]string{"Content-Type", contentType, "Accept", navigate, "Sec-Fetch-Mode", "navigate",
		"Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "same-origin", "Origin", u.Scheme + "://" + u.Host}, header...)...)
}

// postFrom submits a form of a page of another site, with which browsers send no SameSite cookies.
func (g *browser) postFrom(origin, target, body string, header ...string) page {
	g.client.Jar = nil
	p := g.post(target, urlEncoded, body, append([]string{"Sec-Fetch-Site", "cross-site", "Origin", origin}, header...)...)
	g.client.Jar = g.jar
	g.jar.SetCookies(p.Request.URL, p.Cookies())
	return p
}

var sealedValue = regexp.MustCompile(`name="sallyport-form" value="([^"]*)"`)

// sealed returns the form that the page keeps, as the page's button sends it; "" for none.
func (p page) sealed() string {
	m := sealedValue.FindStringSubmatch(p.body)
	if m == nil {
		return ""
	}
	return "sallyport-form=" + url.QueryEscape(html.UnescapeString(m[1]))
}

// multipartBody returns a form with a text field and a file field of a name.
func multipartBody(file string) (contentType, body string) {
	return "multipart/form-data; boundary=xyz", "--xyz\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nall \x00\xff of it\r\n" +
		"--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"" + file + "\"\r\nContent-Type: application/octet-stream\r\n\r\n\r\n--xyz--\r\n"
}

// TestForm_SurvivesSignIn checks that a form whose session had run out arrives after the sign-in as it was sent, once.
func TestForm_SurvivesSignIn(t *testing.T) {
	h := newFormsEnv(t, nil)
	parts, withoutFile := multipartBody("")
	for name, c := range map[string]struct{ contentType, body string }{
		"urlencoded":             {urlEncoded, "title=a+b&text=%C3%A9%00&empty="},
		"charset":                {urlEncoded + "; charset=iso-8859-1", "a=%E9"},
		"a_mebibyte":             {urlEncoded, "text=" + strings.Repeat("x", 1<<20-5)},
		"multipart_without_file": {parts, withoutFile},
	} {
		t.Run(name, func(t *testing.T) {
			g := h.signedIn()
			h.endSessions()
			p := g.post(saveURL, c.contentType, c.body)
			form := p.sealed()
			if p.StatusCode != 401 || form == "" || len(c.body) > 5 && strings.Contains(p.body, c.body) || len(h.posts()) > 0 {
				t.Fatalf("%d %.2000s", p.StatusCode, p.body)
			}
			if !strings.Contains(p.body, `action="https://app.example.com/save?page=1"`) || !strings.Contains(p.body, "POST https://app.example.com/save") {
				t.Errorf("the page does not say what is sent where: %.2000s", p.body)
			}
			if p := g.open("https://app.example.com/.sallyport/login?return_to=%2F.sallyport%2Fform"); p.StatusCode != 200 || p.Request.URL.Path != "/.sallyport/form" {
				t.Fatalf("%d at %s", p.StatusCode, p.Request.URL)
			}
			if p := g.post(saveURL, urlEncoded, form); p.StatusCode != 200 || p.body != "saved" {
				t.Fatalf("%d %.2000s", p.StatusCode, p.body)
			}
			got := h.posts()
			if len(got) != 1 || got[0].method != "POST" || got[0].uri != "/save?page=1" || got[0].user != "alice@example.com" || got[0].body != c.body ||
				got[0].header.Get("Content-Type") != c.contentType || got[0].header.Get("Origin") != "https://app.example.com" {
				t.Fatalf("the application received %d requests: %.2000v", len(got), got)
			}
			if p := g.post(saveURL, urlEncoded, form); p.StatusCode != 400 || len(h.posts()) != 0 {
				t.Errorf("sent twice: %d %s", p.StatusCode, p.body)
			}
		})
	}
	for _, name := range []string{"forgotten_session", "cookie_of_session_is_gone"} {
		t.Run(name, func(t *testing.T) {
			g := h.signedIn()
			value := strings.Repeat("A", 43)
			if name == "cookie_of_session_is_gone" {
				value = ""
			}
			g.plant(appHost, sessionCookie, value)
			form := g.post(saveURL, urlEncoded, "a=b").sealed()
			g.person = h.mallory
			g.open("https://app.example.com/.sallyport/login?prompt=select_account&return_to=/")
			if p := g.post(saveURL, urlEncoded, form); p.StatusCode != 400 || form == "" || len(h.posts()) > 0 {
				t.Fatalf("another user: %d %q %s", p.StatusCode, form, p.body)
			}
			g.person = h.alice
			g.open("https://app.example.com/.sallyport/login?prompt=select_account&return_to=/")
			if p := g.post(saveURL, urlEncoded, form); p.StatusCode != 200 || len(h.posts()) != 1 {
				t.Errorf("%d %s", p.StatusCode, p.body)
			}
		})
	}
	t.Run("step_up", func(t *testing.T) {
		h := &formsEnv{env: newEnv(t)}
		h.settings.Routes = slices.Clone(h.settings.Routes)
		h.settings.Routes[1].KeepForms = true
		h.requireRecentLogin()
		g := h.browser(h.alice)
		g.open("https://app.example.com/")
		g.open("https://wiki.example.com/.sallyport/login?return_to=/.sallyport/form")
		p := g.post("https://wiki.example.com/team/x", urlEncoded, "a=b")
		if form := p.sealed(); p.StatusCode != 401 || form == "" || !strings.Contains(p.body, "max_age=900") {
			t.Fatalf("%d %s", p.StatusCode, p.body)
		}
		g.open("https://wiki.example.com/.sallyport/login?max_age=900&return_to=/.sallyport/form")
		if p := g.post("https://wiki.example.com/team/x", urlEncoded, p.sealed()); p.StatusCode != 200 || !strings.Contains(p.body, "saw POST /team/x by alice@") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
}

// TestForm_BelongsToItsUser checks who may send a form that was form, and where.
func TestForm_BelongsToItsUser(t *testing.T) {
	h := newFormsEnv(t, nil)
	g := h.signedIn()
	h.endSessions()
	form := g.post(saveURL, urlEncoded, "text=alice+wrote+this").sealed()
	rejected := func(t *testing.T, g *browser, target, body string, want int, header ...string) {
		t.Helper()
		if p := g.post(target, urlEncoded, body, header...); p.StatusCode != want || len(h.posts()) > 0 {
			t.Errorf("%d %.2000s, want %d", p.StatusCode, p.body, want)
		}
	}
	t.Run("nobody_keeps_it_again", func(t *testing.T) {
		p := g.post(saveURL, urlEncoded, form)
		if p.StatusCode != 401 || p.sealed() != form || !strings.Contains(p.body, "/.sallyport/login") || len(h.posts()) > 0 {
			t.Errorf("%d %.2000s", p.StatusCode, p.body)
		}
	})
	t.Run("another_user_of_the_browser", func(t *testing.T) {
		g.person = h.mallory
		g.open("https://app.example.com/.sallyport/login?prompt=select_account&return_to=/")
		rejected(t, g, saveURL, form, 400)
		g.person = h.alice
		g.open("https://app.example.com/.sallyport/login?prompt=select_account&return_to=/")
	})
	t.Run("another_browser_of_the_user", func(t *testing.T) {
		other := h.signedIn()
		rejected(t, other, saveURL, form, 400)
		other.post(saveURL, urlEncoded, "a=b")
		h.posts()
		rejected(t, other, saveURL, form, 400)
	})
	t.Run("another_address", func(t *testing.T) {
		for _, target := range []string{"https://app.example.com/save", "https://app.example.com/save?page=2", "https://app.example.com/save/?page=1"} {
			rejected(t, g, target, form, 400)
		}
	})
	t.Run("another_origin", func(t *testing.T) {
		for _, header := range [][]string{{"Sec-Fetch-Site", "same-site", "Origin", "https://wiki.example.com"}, {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, {"Sec-Fetch-Site", "none"}} {
			rejected(t, g, saveURL, form, 403, header...)
		}
	})
	t.Run("altered", func(t *testing.T) {
		for _, body := range []string{"sallyport-form=", "sallyport-form=x", form + "x", form[:len(form)-2], form + "&a=b", "sallyport-form=" + form} {
			rejected(t, g, saveURL, body, 400)
		}
	})
	t.Run("rule_denies", func(t *testing.T) {
		h.removeFromGroup("alice@example.com")
		rejected(t, g, saveURL, form, 403)
		h.restoreToGroup("alice@example.com")
	})
	t.Run("once_though_pressed_twice", func(t *testing.T) {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { g.post(saveURL, urlEncoded, form) })
		}
		all.Wait()
		if got := h.posts(); len(got) != 1 || got[0].body != "text=alice+wrote+this" || got[0].user != "alice@example.com" {
			t.Errorf("%v", got)
		}
	})
}

// TestForm_WhatIsExcluded checks which requests are not form, and that they get the page that they always got.
func TestForm_WhatIsExcluded(t *testing.T) {
	h := newFormsEnv(t, func(r *proxy.Route) { r.MaxBody = 1<<20 + 100 })
	g := h.signedIn()
	other := h.browser(h.alice)
	h.endSessions()
	excluded := func(t *testing.T, p page) {
		t.Helper()
		if p.StatusCode != 401 || p.sealed() != "" || len(h.posts()) > 0 || slices.ContainsFunc(p.Cookies(), func(c *http.Cookie) bool { return strings.Contains(c.Name, "form") }) {
			t.Errorf("%d %.2000s", p.StatusCode, p.body)
		}
	}
	parts, withFile := multipartBody("a.txt")
	t.Run("too_long", func(t *testing.T) { excluded(t, g.post(saveURL, urlEncoded, "a="+strings.Repeat("x", 1<<20-1))) })
	t.Run("much_too_long", func(t *testing.T) { excluded(t, g.post(saveURL, urlEncoded, "a="+strings.Repeat("x", 4<<20))) })
	t.Run("file", func(t *testing.T) { excluded(t, g.post(saveURL, parts, withFile)) })
	t.Run("damaged_multipart", func(t *testing.T) { excluded(t, g.post(saveURL, parts, "--xyz\r\nx")) })
	t.Run("json", func(t *testing.T) { excluded(t, g.post(saveURL, "application/json", "{}")) })
	t.Run("empty", func(t *testing.T) { excluded(t, g.post(saveURL, urlEncoded, "")) })
	t.Run("unknown_length", func(t *testing.T) {
		excluded(t, g.ask("POST", saveURL, io.MultiReader(strings.NewReader("a=b")), "Content-Type", urlEncoded, "Accept", navigate, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "same-origin"))
	})
	t.Run("without_session", func(t *testing.T) { excluded(t, other.post(saveURL, urlEncoded, "a=b")) })
	t.Run("made_up_session", func(t *testing.T) {
		other.plant(appHost, sessionCookie, strings.Repeat("A", 43))
		excluded(t, other.post(saveURL, urlEncoded, "a=b"))
	})
	t.Run("script", func(t *testing.T) { excluded(t, g.post(saveURL, urlEncoded, "a=b", "Sec-Fetch-Mode", "cors")) })
	t.Run("another_method", func(t *testing.T) {
		excluded(t, g.ask("PUT", saveURL, strings.NewReader("a=b"), "Content-Type", urlEncoded, "Accept", navigate, "Sec-Fetch-Site", "same-origin"))
	})
	t.Run("another_application_of_the_site", func(t *testing.T) {
		excluded(t, g.post(saveURL, urlEncoded, "a=b", "Sec-Fetch-Site", "same-site", "Origin", "https://wiki.example.com"))
	})
	t.Run("route_does_not_say_so", func(t *testing.T) {
		h.settings.Routes = slices.Clone(h.settings.Routes)
		h.settings.Routes[0].KeepForms = false
		if err := h.proxy.Load(h.settings); err != nil {
			t.Fatal(err)
		}
		excluded(t, g.post(saveURL, urlEncoded, "a=b"))
		excluded(t, g.postFrom("https://pay.example.net", saveURL, "a=b"))
	})
}

// TestForm_OthersPassUnchanged checks that a route that keeps forms forwards every other body as it is.
func TestForm_OthersPassUnchanged(t *testing.T) {
	h := newFormsEnv(t, nil)
	g := h.signedIn()
	for _, body := range []string{"", "s", "sallyport-form", "sallyport=form", "a=b&sallyport-form=x", strings.Repeat("x", 3<<20)} {
		if p := g.post(saveURL, urlEncoded, body); p.StatusCode != 200 {
			t.Errorf("%.20q: %d %s", body, p.StatusCode, p.body)
		}
		if got := h.posts(); len(got) != 1 || got[0].body != body {
			t.Errorf("%.20q: the application received %.200v", body, got)
		}
	}
	if p := g.post(saveURL, "text/plain", "sallyport-form=x"); p.StatusCode != 200 || h.posts()[0].body != "sallyport-form=x" {
		t.Errorf("%d %s", p.StatusCode, p.body)
	}
}

// TestForm_OfAnotherSite checks that a form of another site, with which browsers send no session, is offered again from
// this site, with words that say what is sent where, and that the application learns where it came from.
func TestForm_OfAnotherSite(t *testing.T) {
	const idp = "https://idp.example.net"
	h := newFormsEnv(t, func(r *proxy.Route) { r.AllowedOrigins = []string{idp} })
	for origin, auto := range map[string]bool{idp: true, "https://evil.example": false, "null": false} {
		t.Run(strings.TrimPrefix(origin, "https://"), func(t *testing.T) {
			g := h.signedIn()
			p := g.postFrom(origin, saveURL, "SAMLResponse=PHNhbWw%2B")
			form := p.sealed()
			if p.StatusCode != 401 || form == "" || len(h.posts()) > 0 {
				t.Fatalf("%d %s", p.StatusCode, p.body)
			}
			shown := "<code>" + origin + "</code>"
			if origin == "null" {
				shown = "a page that does not say of which site it is"
			}
			if !strings.Contains(p.body, shown) || !strings.Contains(p.body, "POST https://app.example.com/save") || strings.Contains(p.body, `data-form="auto"`) != auto || strings.Contains(p.body, "not signed in") {
				t.Errorf("%s", p.body)
			}
			if p := g.post(saveURL, urlEncoded, form); p.StatusCode != 200 {
				t.Fatalf("%d %s", p.StatusCode, p.body)
			}
			got := h.posts()
			if len(got) != 1 || got[0].body != "SAMLResponse=PHNhbWw%2B" || got[0].header.Get("Origin") != origin || got[0].header.Get("Sec-Fetch-Site") != "cross-site" || got[0].header.Get("Referer") != "" {
				t.Errorf("%v", got)
			}
			if p := g.post(saveURL, urlEncoded, form); p.StatusCode != 400 || len(h.posts()) > 0 {
				t.Errorf("sent twice: %d", p.StatusCode)
			}
		})
	}
	t.Run("nobody_is_signed_in", func(t *testing.T) {
		g := h.browser(h.alice)
		form := g.postFrom(idp, saveURL, "a=b").sealed()
		p := g.post(saveURL, urlEncoded, form)
		if p.StatusCode != 401 || p.sealed() != form || strings.Contains(p.body, `data-form="auto"`) || !strings.Contains(p.body, "return_to=%2F.sallyport%2Fform") {
			t.Fatalf("%d %s", p.StatusCode, p.body)
		}
		g.open("https://app.example.com/.sallyport/login?return_to=/.sallyport/form")
		if p := g.post(saveURL, urlEncoded, form); p.StatusCode != 200 || len(h.posts()) != 1 {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
	t.Run("stranger_cannot_send_theirs", func(t *testing.T) {
		thief := h.browser(h.mallory)
		form := thief.postFrom("https://evil.example", saveURL, "a=b").sealed()
		if p := h.signedIn().post(saveURL, urlEncoded, form); p.StatusCode != 400 || len(h.posts()) > 0 {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
	t.Run("with_session_it_stays_rejected", func(t *testing.T) {
		if p := h.signedIn().post(saveURL, urlEncoded, "a=b", "Sec-Fetch-Site", "same-site", "Origin", "https://wiki.example.com"); p.StatusCode != 403 || p.sealed() != "" {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
	t.Run("route_that_keeps_none_says_what_happened", func(t *testing.T) {
		p := h.browser(h.alice).postFrom(idp, "https://wiki.example.com/team/x", "a=b")
		if p.StatusCode != 401 || !strings.Contains(p.body, "A form of another site did not arrive") || !strings.Contains(p.body, `return_to=%2F"`) {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
}

// TestForm_UnusualAddress checks that a form arrives though its page escapes more of the address than the browser does.
func TestForm_UnusualAddress(t *testing.T) {
	h := newFormsEnv(t, func(r *proxy.Route) { r.PathEncoding = "lenient" })
	const target = "https://app.example.com/a%2Fb//c?d=(e|f)'g"
	g := h.signedIn()
	h.endSessions()
	p := g.post(target, urlEncoded, "a=b")
	if p.StatusCode != 401 || !strings.Contains(p.body, `action="https://app.example.com/a%2Fb//c?`) {
		t.Fatalf("%d %s", p.StatusCode, p.body)
	}
	g.open("https://app.example.com/.sallyport/login?return_to=/.sallyport/form")
	if p := g.post("https://app.example.com/a%2Fb//c?d=%28e%7Cf%29%27g", urlEncoded, p.sealed()); p.StatusCode != 200 {
		t.Errorf("%d %s", p.StatusCode, p.body)
	}
	if got := h.posts(); len(got) != 1 || got[0].body != "a=b" {
		t.Errorf("%v", got)
	}
}

// TestForm_PageIsInert checks that the page after the sign-in sends nothing for a link of a stranger.
func TestForm_PageIsInert(t *testing.T) {
	h := newFormsEnv(t, nil)
	if p := h.browser(h.alice).step("https://app.example.com/.sallyport/form"); p.StatusCode != 302 {
		t.Errorf("without a session: %d", p.StatusCode)
	}
	g := h.signedIn()
	p := g.open("https://app.example.com/.sallyport/form?action=/delete&sallyport-form=x")
	if p.StatusCode != 200 || strings.Contains(p.body, "/delete") || p.sealed() != "sallyport-form=" || !strings.Contains(p.body, "disabled") || !strings.Contains(p.body, "Alice Ng") {
		t.Errorf("%d %s", p.StatusCode, p.body)
	}
}
