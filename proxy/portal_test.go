package proxy_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sallyport/audit"
	"sallyport/console"
	"sallyport/console/manage"
	"sallyport/directory"
	"sallyport/policy"
	"sallyport/proxy"
)

const portal = "https://" + loginHost + "/"

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

// load puts changed settings in force.
func (h *env) load(change func(*proxy.Settings)) {
	h.t.Helper()
	change(&h.settings)
	if err := h.proxy.Load(h.settings); err != nil {
		h.t.Fatal(err)
	}
}

const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path d="M0 0h8v8z"/></svg>`

// writeIcon writes an icon and returns its path.
func writeIcon(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "icon.svg")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var iconSource = regexp.MustCompile(`class="icon" src="([^"]+)"`)

// TestPortal_Tiles checks that the portal shows what the configuration says of routes, and a link to the console to those
// who may look at it.
func TestPortal_Tiles(t *testing.T) {
	h := newEnv(t)
	h.load(func(s *proxy.Settings) {
		s.Routes[0].Portal = console.Tile{Title: "The Application", Description: "What it is for", Group: "Work", Icon: writeIcon(t, icon)}
		s.Routes[1].Portal = console.Tile{Hidden: true}
	})
	g := h.browser(h.alice)
	p := g.open(portal)
	for _, want := range []string{"<b>The Application</b>", "What it is for", "<h2>Work</h2>", `href="https://app.example.com/"`} {
		if !strings.Contains(p.body, want) {
			t.Errorf("the portal lacks %s: %s", want, p.body)
		}
	}
	if strings.Contains(p.body, "wiki") || strings.Contains(p.body, manage.Path) {
		t.Errorf("the portal shows what it hides, or leads to a console that there is not: %s", p.body)
	}
	if p := g.open("https://wiki.example.com/team"); p.StatusCode != http.StatusOK {
		t.Errorf("a route that the portal hides: %d", p.StatusCode)
	}
	h.load(func(s *proxy.Settings) {
		s.Console = manage.Settings{Auditors: manage.Members{Groups: []policy.GroupRef{{ID: "g-sre"}}}}
	})
	if p := g.open(portal); !strings.Contains(p.body, `href="/.sallyport/console/"`) {
		t.Errorf("the portal of an auditor does not lead to the console: %s", p.body)
	}
	if p := h.browser(h.bob).open(portal); strings.Contains(p.body, manage.Path) || strings.Contains(p.body, "The Application") {
		t.Errorf("the portal of somebody in no group: %s", p.body)
	}
}

// TestPortal_Icons checks that an icon is served for people who are signed in alone, at a path that names its content, with
// headers that let no script of it run; and that a picture which cannot be shown keeps the settings out of force.
func TestPortal_Icons(t *testing.T) {
	h := newEnv(t)
	h.load(func(s *proxy.Settings) {
		s.Routes[0].Portal.Icon = writeIcon(t, icon)
		s.Brand = console.Brand{Logo: writeIcon(t, strings.Replace(icon, "h8", "h7", 1)), Color: "#0f5f58"}
	})
	g := h.browser(h.alice)
	found := iconSource.FindStringSubmatch(g.open(portal).body)
	if found == nil {
		t.Fatal("the portal shows no icon")
	}
	address := "https://" + loginHost + found[1]
	p := g.ask("GET", address, nil)
	if p.StatusCode != http.StatusOK || p.body != icon || p.Header.Get("Content-Type") != "image/svg+xml" || p.Header.Get("X-Content-Type-Options") != "nosniff" ||
		p.Header.Get("Content-Security-Policy") != "default-src 'none'; style-src 'unsafe-inline'; sandbox" || !strings.Contains(p.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("%d %v %s", p.StatusCode, p.Header, p.body)
	}
	if p := g.ask("HEAD", address, nil); p.StatusCode != http.StatusOK || p.body != "" {
		t.Errorf("HEAD: %d", p.StatusCode)
	}
	if p := g.ask("POST", address, nil); p.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", p.StatusCode)
	}
	for _, other := range []string{strings.Replace(address, ".svg", ".png", 1), address + "/", "https://" + loginHost + "/.sallyport/assets/", "https://" + loginHost + "/.sallyport/assets/..%2fme"} {
		if p := g.ask("GET", other, nil); p.StatusCode != http.StatusNotFound && p.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d", other, p.StatusCode)
		}
	}
	stranger := h.browser(h.stranger)
	if p := stranger.ask("GET", address, nil); p.StatusCode != http.StatusNotFound {
		t.Errorf("an icon for nobody: %d", p.StatusCode)
	}
	denied := stranger.open("https://app.example.com/")
	logo := regexp.MustCompile(`class="logo" src="([^"]+)"`).FindStringSubmatch(denied.body)
	if logo == nil {
		t.Fatalf("the page of a denial has no logo: %s", denied.body)
	}
	for _, host := range []string{loginHost, appHost} {
		if p := stranger.ask("GET", "https://"+host+logo[1], nil); p.StatusCode != http.StatusOK {
			t.Errorf("the logo on %s: %d", host, p.StatusCode)
		}
	}
	h.settings.Routes[0].Portal.Icon = writeIcon(t, strings.Replace(icon, "<path", "<script", 1))
	if err := h.proxy.Load(h.settings); err == nil {
		t.Error("settings with an icon that has a script are in force")
	}
	if p := g.ask("GET", address, nil); p.StatusCode != http.StatusOK {
		t.Errorf("the icon after settings that were refused: %d", p.StatusCode)
	}
	var faults []string
	h.settings.CheckFiles(func(path, problem string) { faults = append(faults, path+": "+problem) })
	if len(faults) != 1 || !strings.HasPrefix(faults[0], "routes[0].portal.icon: ") {
		t.Errorf("%v", faults)
	}
}

func pinForm(do, route string) string { return url.Values{"do": {do}, "route": {route}}.Encode() }

func TestPortal_Pins(t *testing.T) {
	h := newEnv(t)
	const pins = portal + ".sallyport/pins"
	alice, mallory := h.browser(h.alice), h.browser(h.mallory)
	alice.open(portal)
	mallory.open(portal)
	t.Run("pins_and_unpins", func(t *testing.T) {
		p := alice.submit(pins, pinForm("pin", "wiki"))
		if p.StatusCode != http.StatusSeeOther || p.Header.Get("Location") != portal+"#app-wiki" {
			t.Fatalf("%d %s", p.StatusCode, p.Header.Get("Location"))
		}
		if p := alice.open(portal); !strings.Contains(p.body, "<h2>Pinned</h2>") || !strings.Contains(p.body, `aria-label="Unpin wiki"`) || strings.Index(p.body, "app-wiki") > strings.Index(p.body, "app-app") {
			t.Errorf("%s", p.body)
		}
		if p := mallory.open(portal); strings.Contains(p.body, "Pinned") {
			t.Error("somebody else has the pin too")
		}
		alice.submit(pins, pinForm("unpin", "wiki"))
		if p := alice.open(portal); strings.Contains(p.body, "Pinned") {
			t.Errorf("%s", p.body)
		}
	})
	t.Run("shows_none_that_may_not_be_opened", func(t *testing.T) {
		mallory.submit(pins, pinForm("pin", "wiki"))
		mallory.submit(pins, pinForm("pin", "api"))
		h.removeFromGroup("mallory@example.com")
		if p := mallory.open(portal); strings.Contains(p.body, "wiki") || strings.Contains(p.body, "Pinned") {
			t.Errorf("%s", p.body)
		}
	})
	t.Run("tells_nothing_of_routes", func(t *testing.T) {
		if p := alice.submit(pins, pinForm("pin", "no-such-route")); p.StatusCode != http.StatusSeeOther || p.Header.Get("Location") != portal {
			t.Errorf("%d %s", p.StatusCode, p.Header.Get("Location"))
		}
	})
	for name, p := range map[string]page{
		"by_link":                           alice.ask("GET", pins+"?"+pinForm("pin", "wiki"), nil),
		"of_another_site":                   alice.submit(pins, pinForm("pin", "wiki"), "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"),
		"of_another_host":                   alice.submit(pins, pinForm("pin", "wiki"), "Sec-Fetch-Site", "same-site", "Origin", "https://app.example.com"),
		"of_an_old_browser_on_another_site": alice.submit(pins, pinForm("pin", "wiki"), "Sec-Fetch-Site", "", "Origin", "https://evil.example"),
		"of_nobody":                         h.browser(h.alice).submit(pins, pinForm("pin", "wiki")),
		"without_action":                    alice.submit(pins, pinForm("", "wiki")),
		"too_long":                          alice.submit(pins, pinForm("pin", strings.Repeat("x", 70<<10))),
		"on_another_host":                   alice.submit("https://app.example.com/.sallyport/pins", pinForm("pin", "wiki")),
	} {
		t.Run("rejects_"+name, func(t *testing.T) {
			if want := []int{400, 401, 403, 404, 405, 413}; !slices.Contains(want, p.StatusCode) {
				t.Errorf("%d", p.StatusCode)
			}
		})
	}
	if p := alice.open(portal); strings.Contains(p.body, "Pinned") {
		t.Errorf("a form that was rejected pinned something: %s", p.body)
	}
}

// TestPortal_Requestable checks that the portal lists what a person may ask for and leads to a form that asks, and that
// nobody learns there of other routes.
func TestPortal_Requestable(t *testing.T) {
	h := newAccessEnv(t, nil)
	bob := h.browser(h.bob)
	const ask = portal + ".sallyport/ask?route=reports"
	if p := bob.open(portal); !strings.Contains(p.body, "You may ask for access") || !strings.Contains(p.body, `href="/.sallyport/ask?route=reports"`) || strings.Contains(p.body, "closed") || strings.Contains(p.body, "wiki") {
		t.Fatalf("%s", p.body)
	}
	if p := bob.open(ask); p.StatusCode != http.StatusOK || !strings.Contains(p.body, `action="/.sallyport/ask?route=reports"`) || !strings.Contains(p.body, "https://reports.example.com/") {
		t.Fatalf("%d %s", p.StatusCode, p.body)
	}
	for _, route := range []string{"wiki", "closed", "api", "no-such-route", ""} {
		if p := bob.open(portal + ".sallyport/ask?route=" + route); p.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", route, p.StatusCode)
		}
		if p := bob.submit(portal+".sallyport/ask?route="+route, form("sre", "", "please")); p.StatusCode != http.StatusNotFound && p.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", route, p.StatusCode)
		}
	}
	if p := bob.submit(ask, form("sre", "https://wiki.example.com/team", "please")); p.StatusCode != http.StatusForbidden {
		t.Errorf("another policy: %d", p.StatusCode)
	}
	if p := bob.submit(ask, form("reports", "", strings.Repeat("x", 501))); p.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(p.body, `action="/.sallyport/ask?route=reports"`) {
		t.Errorf("a reason that is too long: %d %s", p.StatusCode, p.body)
	}
	if p := bob.submit(ask, form("reports", "", "please"), "Sec-Fetch-Site", "same-site", "Origin", "https://app.example.com"); p.StatusCode != http.StatusForbidden {
		t.Errorf("of an application: %d", p.StatusCode)
	}
	if p := h.browser(h.bob).submit(ask, form("reports", "", "please")); p.StatusCode != http.StatusUnauthorized {
		t.Errorf("of nobody: %d", p.StatusCode)
	}
	if h.made() != 0 {
		t.Fatalf("%d requests were made", h.made())
	}
	p := bob.submit(ask, form("reports", "https://evil.example/", "I am on call"))
	link := requestLink.FindString(p.body)
	if p.StatusCode != http.StatusOK || link == "" || h.made() != 1 || strings.Contains(p.body, "evil") {
		t.Fatalf("%d %s", p.StatusCode, p.body)
	}
	if p := bob.open(portal); !strings.Contains(p.body, "You have asked for access") {
		t.Errorf("the portal after asking: %s", p.body)
	}
	alice := h.browser(h.alice)
	if p := alice.open(link); !strings.Contains(p.body, "I am on call") || !strings.Contains(p.body, "https://reports.example.com/") {
		t.Errorf("the page of the request: %s", p.body)
	}
	alice.submit(link, "do=approve&for=1h")
	if p := bob.open(portal); !strings.Contains(p.body, `href="https://reports.example.com/"`) || strings.Contains(p.body, "You may ask") || !strings.Contains(p.body, "left") {
		t.Errorf("the portal after the approval: %s", p.body)
	}
}

var sessionID = regexp.MustCompile(`name="session" value="([0-9a-f]{32})"`)

// TestOwnSessions checks that people see and end their own sessions and no other's, and that this is recorded.
func TestOwnSessions(t *testing.T) {
	h := newEnv(t)
	const sessions = portal + ".sallyport/sessions"
	idsOf := func(g *browser) (ids []string) {
		t.Helper()
		for _, found := range sessionID.FindAllStringSubmatch(g.open(sessions).body, -1) {
			ids = append(ids, found[1])
		}
		return ids
	}
	one, two, three, mallory := h.browser(h.alice), h.browser(h.alice), h.browser(h.alice), h.browser(h.mallory)
	for _, g := range []*browser{one, two, three, mallory} {
		g.open("https://app.example.com/")
		g.open(portal)
	}
	ids := idsOf(one)
	if p := one.open(sessions); len(ids) != 3 || strings.Count(p.body, "This browser") != 1 || !strings.Contains(p.body, "a Go program") || !strings.Contains(p.body, "127.0.0.1") {
		t.Fatalf("%d %v %s", p.StatusCode, ids, p.body)
	}
	theirs := idsOf(mallory)
	if len(theirs) != 1 {
		t.Fatal(theirs)
	}
	end := func(g *browser, do, id string, header ...string) page {
		t.Helper()
		return g.submit(sessions, url.Values{"do": {do}, "session": {id}}.Encode(), header...)
	}
	t.Run("of_somebody_else", func(t *testing.T) {
		if p := end(one, "end", theirs[0]); p.StatusCode != http.StatusConflict {
			t.Errorf("%d", p.StatusCode)
		}
		if p := mallory.open(sessions); p.StatusCode != http.StatusOK || len(p.Request.URL.Query()) > 0 {
			t.Errorf("%d", p.StatusCode)
		}
	})
	t.Run("by_other_sites", func(t *testing.T) {
		for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, {"Sec-Fetch-Site", "same-site", "Origin", "https://app.example.com"}} {
			if p := end(one, "all", "", header...); p.StatusCode != http.StatusForbidden {
				t.Errorf("%d", p.StatusCode)
			}
		}
		if p := one.ask("GET", sessions+"?do=all", nil); p.StatusCode != http.StatusOK || len(idsOf(one)) != 3 {
			t.Errorf("%d", p.StatusCode)
		}
		if p := one.submit("https://app.example.com/.sallyport/sessions", "do=all"); p.StatusCode != http.StatusMethodNotAllowed || len(idsOf(one)) != 3 {
			t.Errorf("on the host of an application: %d", p.StatusCode)
		}
	})
	t.Run("one", func(t *testing.T) {
		other := ids[slices.IndexFunc(ids, func(id string) bool { return id != ids[0] })]
		if p := end(one, "end", other); p.StatusCode != http.StatusSeeOther || p.Header.Get("Location") != sessions+"?done=ended" {
			t.Fatalf("%d %s", p.StatusCode, p.Header.Get("Location"))
		}
		lost := 0
		for _, g := range []*browser{two, three} {
			if p := g.ask("GET", "https://app.example.com/", nil); p.StatusCode == http.StatusUnauthorized {
				lost++
			}
		}
		if lost != 1 {
			t.Errorf("%d of the other browsers lost their session", lost)
		}
		if p := end(one, "end", other); p.StatusCode != http.StatusConflict {
			t.Errorf("once more: %d", p.StatusCode)
		}
		events := h.events(audit.KindEnd)
		if len(events) != 1 || !strings.Contains(events[0], `"reason":"logout"`) || !strings.Contains(events[0], other) || !strings.Contains(events[0], `"name":"alice@example.com"`) {
			t.Errorf("the record: %v", events)
		}
	})
	t.Run("others", func(t *testing.T) {
		two.open(portal)
		three.open(portal)
		if p := end(one, "others", ""); p.StatusCode != http.StatusSeeOther {
			t.Errorf("%d", p.StatusCode)
		}
		if ids := idsOf(one); len(ids) != 1 {
			t.Errorf("%v", ids)
		}
		for _, g := range []*browser{two, three} {
			if p := g.ask("GET", "https://app.example.com/", nil); p.StatusCode != http.StatusUnauthorized {
				t.Errorf("%d", p.StatusCode)
			}
		}
		if p := end(one, "others", ""); p.StatusCode != http.StatusSeeOther {
			t.Errorf("without others: %d", p.StatusCode)
		}
	})
	t.Run("all", func(t *testing.T) {
		two.open(portal)
		p := end(one, "all", "")
		if p.StatusCode != http.StatusSeeOther || p.Header.Get("Location") != portal+".sallyport/logout" {
			t.Errorf("%d %s", p.StatusCode, p.Header.Get("Location"))
		}
		if p := one.open(portal + ".sallyport/logout"); !strings.Contains(p.body, "You are signed out") {
			t.Errorf("%s", p.body)
		}
		for _, g := range []*browser{one, two} {
			if p := g.ask("GET", "https://app.example.com/", nil); p.StatusCode != http.StatusUnauthorized {
				t.Errorf("%d", p.StatusCode)
			}
		}
		if p := mallory.ask("GET", "https://app.example.com/", nil); p.StatusCode != http.StatusOK {
			t.Errorf("somebody else: %d", p.StatusCode)
		}
	})
	t.Run("of_nobody", func(t *testing.T) {
		if p := one.ask("GET", sessions, nil); p.StatusCode != http.StatusUnauthorized {
			t.Errorf("%d", p.StatusCode)
		}
		if p := end(one, "all", ""); p.StatusCode != http.StatusUnauthorized {
			t.Errorf("%d", p.StatusCode)
		}
	})
	t.Run("from_the_host_of_an_application", func(t *testing.T) {
		if p := mallory.ask("GET", "https://app.example.com/.sallyport/sessions", nil); p.StatusCode != http.StatusFound || p.Header.Get("Location") != sessions {
			t.Errorf("%d %s", p.StatusCode, p.Header.Get("Location"))
		}
	})
}

// TestDenial_WaysOn checks that every page that refuses something leads on, and says whom to ask.
func TestDenial_WaysOn(t *testing.T) {
	h := newEnv(t)
	const contact = `href="mailto:help@example.com"`
	h.load(func(s *proxy.Settings) { s.Contact, s.Routes[1].Owner = "help@example.com", "" })
	leadsTo := func(t *testing.T, p page, status int, parts ...string) {
		t.Helper()
		if p.StatusCode != status || strings.Contains(p.body, "the people who run") {
			t.Errorf("%d at %s, or it names nobody: %s", p.StatusCode, p.Request.URL, p.body)
		}
		for _, part := range parts {
			if !strings.Contains(p.body, part) {
				t.Errorf("%d at %s lacks %s: %s", p.StatusCode, p.Request.URL, part, p.body)
			}
		}
	}
	const toPortal, other, signOut = `href="https://login.example.com/"`, `prompt=select_account`, `href="/.sallyport/logout?sign_in=`
	bob, alice := h.browser(h.bob), h.browser(h.alice)
	leadsTo(t, bob.open("https://app.example.com/x"), 403, "mailto:owner@example.com", other, signOut, toPortal)
	leadsTo(t, bob.open("https://wiki.example.com/team"), 403, contact, other, signOut, toPortal)
	leadsTo(t, h.browser(h.stranger).open("https://wiki.example.com/team"), 403, contact, other)
	leadsTo(t, bob.open("https://wiki.example.com/elsewhere"), 404, toPortal)
	leadsTo(t, bob.open("https://login.example.com/.sallyport/nothing"), 404, toPortal)
	leadsTo(t, bob.open("https://app.example.com/a%2fb"), 400, toPortal)
	leadsTo(t, bob.open("https://login.example.com/.sallyport/console/"), 404, toPortal)
	alice.open("https://app.example.com/")
	if p := alice.step("https://unknown.example.com/"); strings.Contains(p.body, loginHost) {
		t.Errorf("an unknown host learns where the portal is: %s", p.body)
	}
	t.Run("login_that_failed", func(t *testing.T) {
		g := h.browser(h.alice)
		q := must[*url.URL](t)(url.Parse(g.until("https://app.example.com/x", "/authorize?"))).Query()
		failed := "https://login.example.com/.sallyport/callback?error=access_denied&state=" + url.QueryEscape(q.Get("state"))
		leadsTo(t, g.step(failed), 401, other, contact)
	})
	t.Run("after_the_user_left", func(t *testing.T) {
		h.change(func(tx *directory.Tx) error {
			u, err := tx.UserByName("bob@example.com")
			if err != nil {
				return err
			}
			return tx.DeleteUser(u.ID)
		})
		leadsTo(t, bob.open("https://wiki.example.com/team"), 403, contact, other)
	})
	t.Run("application_is_down", func(t *testing.T) {
		h.load(func(s *proxy.Settings) { s.Routes[1].Upstream = proxy.Upstreams{"http://127.0.0.1:1"} })
		leadsTo(t, alice.open("https://wiki.example.com/team"), 502, "Try again", toPortal, contact)
	})
	t.Run("no_portal", func(t *testing.T) { // where a route has its place
		h.load(func(s *proxy.Settings) {
			root := s.Routes[0]
			root.Name, root.Host = "root", loginHost
			s.Routes = append(s.Routes, root)
		})
		if p := alice.open("https://wiki.example.com/elsewhere"); strings.Contains(p.body, "Your applications") {
			t.Errorf("%s", p.body)
		}
	})
}
