package proxy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/policy"
	"sallyport/proxy"
	"sallyport/session"
)

const codeURL = "https://" + loginHost + "/.sallyport/breakglass"

// arm arms a break-glass code for a person.
func (h *env) arm(userName string) string {
	h.t.Helper()
	code, err := h.admin.ArmBreakGlass(h.t.Context(), admin.Operator("ada", "control socket"), userName, "the provider is down", time.Hour)
	if err != nil {
		h.t.Fatal(err)
	}
	return code.Code
}

// enter submits the page with a code.
func (g *browser) enter(code, returnTo string, header ...string) page {
	g.t.Helper()
	header = append([]string{"Content-Type", "application/x-www-form-urlencoded", "Accept", navigate, "Sec-Fetch-Mode", "navigate",
		"Sec-Fetch-Site", "same-origin", "Origin", "https://" + loginHost}, header...)
	return g.ask("POST", codeURL, strings.NewReader(url.Values{"code": {code}, "return_to": {returnTo}}.Encode()), header...)
}

// breakIn has the browser begin the break-glass session of a user.
func (g *browser) breakIn(userName string) {
	g.t.Helper()
	if p := g.enter(g.env.arm(userName), "/"); p.StatusCode != http.StatusSeeOther || g.cookie(loginHost, sessionCookie) == "" {
		g.t.Fatalf("%d %s", p.StatusCode, p.body)
	}
}

const banner = "Break-glass session of <b>Alice Ng</b>"

// TestBreakGlass_SignsIn checks that a code leads to the application that was asked for while the provider is down, with
// the rules in force, and that every trace of the session says what it is.
func TestBreakGlass_SignsIn(t *testing.T) {
	h := newEnv(t)
	h.logins.setDown(true)
	g := h.browser(h.alice)
	form := g.open(codeURL)
	if form.StatusCode != 404 {
		t.Errorf("while nothing is armed the page gives %d", form.StatusCode)
	}
	code := h.arm("alice@example.com")
	form = g.open(codeURL + "?return_to=" + url.QueryEscape("https://app.example.com/d?a=b"))
	if form.StatusCode != 200 || !strings.Contains(form.body, `name="code"`) || !strings.Contains(form.body, `value="https://app.example.com/d?a=b"`) {
		t.Fatalf("%d %s", form.StatusCode, form.body)
	}
	p := g.enter(code, "https://app.example.com/d?a=b")
	if p.StatusCode != 303 {
		t.Fatalf("%d %s", p.StatusCode, p.body)
	}
	p = g.open(must[*url.URL](t)(p.Request.URL.Parse(p.Header.Get("Location"))).String())
	if p.StatusCode != 200 || !strings.Contains(p.body, "the application saw GET /d?a=b by alice@example.com") || p.Request.URL.Host != appHost {
		t.Fatalf("%d at %s: %s", p.StatusCode, p.Request.URL, p.body)
	}
	if p := g.enter(code, "/"); p.StatusCode != 404 {
		t.Errorf("a second use gives %d", p.StatusCode)
	}

	t.Run("decisions_say_so", func(t *testing.T) {
		events := h.events(audit.KindDecision)
		if last := events[len(events)-1]; !strings.Contains(last, `"detail":{"session":"break-glass"}`) || !strings.Contains(last, `"decision":"allow"`) {
			t.Error(last)
		}
		g.ask("DELETE", "https://app.example.com/", nil, "Origin", "https://app.example.com", "Sec-Fetch-Site", "same-origin")
		events = h.events(audit.KindDecision)
		if last := events[len(events)-1]; !strings.Contains(last, `"session":"break-glass"`) || !strings.Contains(last, `"decision":"deny"`) {
			t.Error(last)
		}
	})
	t.Run("pages_say_so", func(t *testing.T) {
		for name, p := range map[string]page{
			"portal":    g.open("https://login.example.com/"),
			"denied":    g.ask("DELETE", "https://app.example.com/", nil, "Accept", navigate, "Origin", "https://app.example.com", "Sec-Fetch-Site", "same-origin"),
			"signout":   g.open("https://app.example.com/.sallyport/logout"),
			"form":      g.open("https://app.example.com/.sallyport/form"),
			"not_found": g.open("https://app.example.com/.sallyport/nowhere"),
			"no_route":  g.open("https://wiki.example.com/other"),
			"failed":    g.open("https://login.example.com/.sallyport/callback?state=x"),
		} {
			signedIn := p.Request.URL.Host != wikiHost
			if strings.Contains(p.body, banner) != signedIn || !strings.Contains(p.body, "<html") {
				t.Errorf("%s: %d %s", name, p.StatusCode, p.body)
			}
		}
	})
	t.Run("me_says_so", func(t *testing.T) {
		var me struct {
			Session struct {
				BreakGlass bool `json:"break_glass"`
				Expires    time.Time
			}
		}
		p := g.ask("GET", "https://app.example.com/.sallyport/me", nil)
		if err := json.Unmarshal([]byte(p.body), &me); err != nil || !me.Session.BreakGlass || time.Until(me.Session.Expires) > time.Hour || strings.Contains(p.body, "authenticated") {
			t.Errorf("%s", p.body)
		}
	})
	t.Run("signs_out_here_alone", func(t *testing.T) {
		p := g.press(appHost, "")
		if p.StatusCode != 200 || !strings.Contains(p.body, "You are signed out") || strings.Contains(p.body, "at=provider") || strings.Contains(p.body, banner) {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
		if len(h.sessions.List()) != 0 {
			t.Errorf("%d sessions are left", len(h.sessions.List()))
		}
	})
	if strings.Contains(h.log.String(), code) || strings.Contains(strings.Join(h.events(audit.KindBreakGlass), ""), code) {
		t.Error("the code is in the log or in the record")
	}
}

// TestBreakGlass_Page checks who may enter a code, where and how.
func TestBreakGlass_Page(t *testing.T) {
	h := newEnv(t)
	like := func(t *testing.T, p page) {
		t.Helper()
		unknown := h.browser(h.alice).ask(p.Request.Method, "https://login.example.com/.sallyport/nowhere", nil, "Accept", navigate)
		strip := func(p page) string {
			body, _, _ := strings.Cut(p.body, `<p class="request">`)
			return fmt.Sprint(p.StatusCode, body, len(p.Header))
		}
		if strip(p) != strip(unknown) {
			t.Errorf("%s gives another page than an unknown path:\n%s\n%s", p.Request.Method, strip(p), strip(unknown))
		}
	}
	g := h.browser(h.alice)
	t.Run("not_while_nothing_is_armed", func(t *testing.T) {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "OPTIONS"} {
			like(t, g.ask(method, codeURL, nil, "Accept", navigate))
			like(t, g.ask(method, codeURL, nil, "Accept", navigate, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"))
		}
	})
	code := h.arm("alice@example.com")
	t.Run("not_on_another_host", func(t *testing.T) {
		for _, host := range []string{appHost, wikiHost, apiHost, "unknown.example.com"} {
			for _, method := range []string{"GET", "POST"} {
				if p := g.ask(method, "https://"+host+"/.sallyport/breakglass", nil, "Accept", navigate); p.StatusCode != 404 {
					t.Errorf("%s %s gives %d", method, host, p.StatusCode)
				}
			}
		}
	})
	t.Run("not_below", func(t *testing.T) {
		for _, path := range []string{"/", "/x", "%2f", "s"} {
			if p := g.ask("GET", codeURL+path, nil, "Accept", navigate); p.StatusCode < 400 {
				t.Errorf("%s gives %d", path, p.StatusCode)
			}
		}
	})
	t.Run("other_methods", func(t *testing.T) {
		if p := g.ask("PUT", codeURL, nil); p.StatusCode != 405 || p.Header.Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("%d %v", p.StatusCode, p.Header)
		}
	})
	t.Run("not_from_another_site", func(t *testing.T) {
		for _, header := range [][]string{{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, {"Origin", "https://app.example.com", "Sec-Fetch-Site", "same-site"},
			{"Origin", "null", "Sec-Fetch-Site", ""}} {
			if p := g.enter(code, "/", header...); p.StatusCode != 403 || g.cookie(loginHost, sessionCookie) != "" || !strings.Contains(p.body, "another site") {
				t.Errorf("%v gives %d %s", header, p.StatusCode, p.body)
			}
		}
	})
	t.Run("wrong_codes", func(t *testing.T) {
		var first string
		for name, wrong := range map[string]string{"empty": "", "short": code[:10], "another": strings.Repeat("0", 28), "long": strings.Repeat("x", 9000), "twice": code + code, "odd": "\x00%ff"} {
			p := g.enter(wrong, "/")
			body, _, _ := strings.Cut(p.body, `<p class="request">`)
			if first == "" {
				first = body
			}
			if p.StatusCode != 403 || body != first || !strings.Contains(body, "This code is not valid") || g.cookie(loginHost, sessionCookie) != "" {
				t.Errorf("%s: %d %s", name, p.StatusCode, body)
			}
		}
		p := g.ask("POST", codeURL+"?code="+code, strings.NewReader("code=x"), "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin")
		if p.StatusCode != 403 {
			t.Errorf("a code in the query gives %d", p.StatusCode)
		}
		if p := g.ask("POST", codeURL, strings.NewReader(`{"code":"`+code+`"}`), "Content-Type", "application/json", "Sec-Fetch-Site", "same-origin"); p.StatusCode != 403 {
			t.Errorf("a code as JSON gives %d", p.StatusCode)
		}
	})
	t.Run("throttled_but_not_for_the_right_code", func(t *testing.T) {
		for range 40 {
			g.enter("wrong", "/")
		}
		if p := g.enter("wrong", "/"); p.StatusCode != 429 || p.Header.Get("Retry-After") == "" {
			t.Errorf("after many wrong codes another gives %d", p.StatusCode)
		}
		if p := g.enter(code, "/"); p.StatusCode != 303 || p.Header.Get("Location") != "/" || g.cookie(loginHost, sessionCookie) == "" {
			t.Errorf("the right code gives %d", p.StatusCode)
		}
	})
	t.Run("used_code_beside_another", func(t *testing.T) {
		h.arm("bob@example.com")
		if p := h.browser(h.alice).enter(code, "/"); p.StatusCode != 429 && p.StatusCode != 403 {
			t.Errorf("a used code gives %d", p.StatusCode)
		}
	})
}

// TestBreakGlass_ReturnTo checks that the session leads to hosts of ours alone.
func TestBreakGlass_ReturnTo(t *testing.T) {
	h := newEnv(t)
	for _, evil := range []string{"https://evil.example/", "//evil.example", `\\evil.example`, "javascript:alert(1)", "/\t/evil.example", "https://app.example.com@evil.example/", "", "/.sallyport/logout"} {
		g := h.browser(h.alice)
		p := g.enter(h.arm("alice@example.com"), evil)
		for p.StatusCode/100 == 3 {
			next := must[*url.URL](t)(p.Request.URL.Parse(p.Header.Get("Location")))
			if !strings.HasSuffix(next.Hostname(), ".example.com") {
				t.Fatalf("%q leads to %s", evil, next)
			}
			p = g.step(next.String())
		}
		if p.StatusCode != 200 {
			t.Errorf("%q ends with %d at %s", evil, p.StatusCode, p.Request.URL)
		}
	}
}

// TestBreakGlass_ReplacesSession checks that the session that the browser had ends, whoever had it.
func TestBreakGlass_ReplacesSession(t *testing.T) {
	h := newEnv(t)
	g := h.browser(h.bob)
	g.open("https://login.example.com/")
	old := g.cookie(loginHost, sessionCookie)
	g.breakIn("alice@example.com")
	if list := h.sessions.List(); len(list) != 1 || !list[0].IsBreakGlass() || g.cookie(loginHost, sessionCookie) == old {
		t.Errorf("%+v", list)
	}
	h.logins.setDown(false)
	g.person = h.alice
	g.open("https://login.example.com/.sallyport/login?prompt=select_account")
	if list := h.sessions.List(); len(list) != 1 || list[0].IsBreakGlass() {
		t.Errorf("after a login: %+v", list)
	}
	if p := g.open("https://login.example.com/"); strings.Contains(p.body, banner) {
		t.Error("after a login the pages still have the banner")
	}
}

// TestBreakGlass_YieldsToLogin checks that a login which began before the code was entered, in another tab, does not end in
// the break-glass session.
func TestBreakGlass_YieldsToLogin(t *testing.T) {
	h := newEnv(t)
	g := h.browser(h.alice)
	callback := g.until("https://login.example.com/", "/.sallyport/callback?")
	g.breakIn("alice@example.com")
	if p := g.open(callback); p.StatusCode != 200 || strings.Contains(p.body, banner) {
		t.Errorf("%d %s", p.StatusCode, p.body)
	}
	if list := h.sessions.List(); len(list) != 1 || list[0].IsBreakGlass() || list[0].Subject == "" {
		t.Errorf("%+v", list)
	}
}

// TestBreakGlass_NotFromStaleMemory checks that no session begins while it cannot be told whether its user is active, and
// that the code can be entered again then.
func TestBreakGlass_NotFromStaleMemory(t *testing.T) {
	for name, stop := range map[string]func(h *env){
		"directory": func(h *env) { h.stopDirectory() },
		"record":    func(h *env) { h.record.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			h := newEnv(t)
			code := h.arm("alice@example.com")
			stop(h)
			g := h.browser(h.alice)
			if p := g.enter(code, "/"); p.StatusCode != 503 || p.Header.Get("Retry-After") == "" || g.cookie(loginHost, sessionCookie) != "" || len(h.sessions.List()) != 0 {
				t.Errorf("%d, %d sessions: %s", p.StatusCode, len(h.sessions.List()), p.body)
			}
			if !h.admin.BreakGlassArmed() {
				t.Error("the code was used up")
			}
		})
	}
}

// TestBreakGlass_EndsByItself checks that the time that was armed ends a live stream, however much it carries.
func TestBreakGlass_EndsByItself(t *testing.T) {
	t.Parallel() // it waits
	h := newEnv(t)
	s := h.newSettings()
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			io.WriteString(w, "data: tick\n\n")
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	}))
	defer endless.Close()
	s.Routes[0].Upstream = proxy.Upstreams{endless.URL}
	if err := h.proxy.Load(s); err != nil {
		t.Fatal(err)
	}
	u, ok := h.directory.Lookup(h.alice.OID)
	if !ok {
		t.Fatal("there is no alice")
	}
	began, err := h.sessions.BeginBreakGlass(t.Context(), session.Session{User: u.ID, UserName: u.UserName, Epoch: u.Epoch}, "drill", time.Now().Add(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	g := h.browser(h.alice)
	g.plant(appHost, sessionCookie, must[string](t)(h.sessions.NewToken(t.Context(), began.ID, appHost)))
	resp := must[*http.Response](t)(g.client.Get("https://app.example.com/"))
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	if n, err := io.Copy(io.Discard, resp.Body); err == nil || n == 0 { // the client gives up after 20 seconds
		t.Errorf("the stream ends after %d bytes, %v", n, err)
	}
	resp.Body.Close()
	if p := g.ask("GET", "https://app.example.com/", nil); p.StatusCode != 401 {
		t.Errorf("afterwards the session gives %d", p.StatusCode)
	}
	for deadline := time.Now().Add(20 * time.Second); len(h.events(audit.KindCut)) == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // a cut is recorded after it was made
	}
	if cuts := h.events(audit.KindCut); len(cuts) != 1 || !strings.Contains(cuts[0], `"reason":"session_expired"`) || !strings.Contains(cuts[0], `"session":"break-glass"`) {
		t.Errorf("%q", cuts)
	}
}

// TestBreakGlass_IsNoLogin checks that rules that demand something of the login do not let the session in, and that a login
// at the provider cannot be faked by way of it.
func TestBreakGlass_IsNoLogin(t *testing.T) {
	h := newEnv(t)
	for name, auth := range map[string]policy.Match{
		"max_auth_age": {MaxAuthAge: 24 * time.Hour},
		"acr":          {Auth: &policy.Login{ACR: []string{"c1"}}},
		"amr":          {Auth: &policy.Login{AMR: []string{"mfa"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := h.newSettings()
			match := auth
			match.Groups = []policy.GroupRef{{ID: "g-sre", Name: "SRE"}}
			s.Policies[0].Rules = []policy.Rule{{Allow: &match}}
			if err := h.proxy.Load(s); err != nil {
				t.Fatal(err)
			}
			h.logins.setDown(false)
			g := h.browser(h.alice)
			g.breakIn("alice@example.com")
			if p := g.open("https://app.example.com/"); p.StatusCode != 200 {
				t.Fatalf("a route without a demand gives %d", p.StatusCode)
			}
			h.logins.setDown(true)
			p := g.open("https://wiki.example.com/team/")
			if p.StatusCode == 200 || strings.Contains(p.body, "the application saw") {
				t.Errorf("a route with a demand gives %d %s", p.StatusCode, p.body)
			}
			if p := g.ask("GET", "https://app.example.com/", nil); p.StatusCode != 200 {
				t.Errorf("afterwards the session gives %d", p.StatusCode)
			}
		})
	}
}

// TestBreakGlass_AssertionSaysSo checks that applications are told, also one that the same user opens at the same time with
// a session that began by a login.
func TestBreakGlass_AssertionSaysSo(t *testing.T) {
	h := newEnv(t)
	s := h.newSettings()
	s.IdentityHeaders = proxy.Defaults().IdentityHeaders
	s.IdentityHeaders.User, s.IdentityHeaders.Assertion = new(""), new("X-Forwarded-User") // which the application shows
	if err := h.proxy.Load(s); err != nil {
		t.Fatal(err)
	}
	login, code := h.browser(h.alice), h.browser(h.alice)
	login.open("https://login.example.com/")
	code.breakIn("alice@example.com")
	for range 3 {
		for g, want := range map[*browser]bool{login: false, code: true} {
			p := g.open("https://app.example.com/")
			_, rest, _ := strings.Cut(p.body, " by ")
			signed, _, _ := strings.Cut(rest, " ")
			parsed, err := jwt.ParseSigned(signed, []jose.SignatureAlgorithm{jose.ES256})
			if err != nil {
				t.Fatalf("%v: %s", err, p.body)
			}
			var claims map[string]any
			if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil {
				t.Fatal(err)
			}
			if got, ok := claims["break_glass"].(bool); got != want || ok != want {
				t.Errorf("%v, want %v", claims, want)
			}
		}
	}
}

// TestBreakGlass_EndsWithItsUser checks that the session is cut like any other.
func TestBreakGlass_EndsWithItsUser(t *testing.T) {
	for name, end := range map[string]func(h *env){
		"deactivated": func(h *env) { h.setActive("alice@example.com", false) },
		"suspended": func(h *env) {
			if _, err := h.admin.Suspend(t.Context(), admin.Operator("ada", "x"), "alice@example.com", "why"); err != nil {
				t.Fatal(err)
			}
		},
		"session_ended": func(h *env) {
			if err := h.admin.EndSession(t.Context(), admin.Operator("ada", "x"), h.sessions.List()[0].ID); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newEnv(t)
			g := h.browser(h.alice)
			g.breakIn("alice@example.com")
			if p := g.open("https://app.example.com/"); p.StatusCode != 200 {
				t.Fatalf("%d %s", p.StatusCode, p.body)
			}
			end(h)
			for _, host := range []string{appHost, loginHost} {
				if p := g.ask("GET", "https://"+host+"/", nil, "Accept", "application/json"); p.StatusCode != 401 && p.StatusCode != 403 {
					t.Errorf("%s gives %d", host, p.StatusCode)
				}
			}
		})
	}
}

// TestBreakGlass_IsOfferedWhileProviderIsDown checks that the page of a failed login leads to the page for a code, and that
// it does so only while one is armed.
func TestBreakGlass_IsOfferedWhileProviderIsDown(t *testing.T) {
	h := newEnv(t)
	g := h.browser(h.alice)
	callback := g.until("https://app.example.com/d", "/.sallyport/callback?")
	h.logins.setDown(true)
	if p := g.step(callback); p.StatusCode != 503 || strings.Contains(p.body, "breakglass") {
		t.Errorf("while nothing is armed: %d %s", p.StatusCode, p.body)
	}
	h.arm("alice@example.com")
	g = h.browser(h.alice)
	h.logins.setDown(false)
	callback = g.until("https://app.example.com/d", "/.sallyport/callback?")
	h.logins.setDown(true)
	p := g.step(callback)
	link := p.linkTo(t, "/.sallyport/breakglass?")
	if link == nil || link.Host != loginHost || link.Query().Get("return_to") != "https://app.example.com/d" {
		t.Errorf("%d %v %s", p.StatusCode, link, p.body)
	}
	if p := g.open("https://app.example.com/.sallyport/nowhere"); p.linkTo(t, "breakglass") != nil {
		t.Error("another page offers it too")
	}
}
