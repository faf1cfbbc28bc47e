package proxy_test

import (
	"bufio"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/console/manage"
	"sallyport/directory"
	"sallyport/live"
	"sallyport/policy"
	"sallyport/session"
)

const consoleURL = "https://" + loginHost + manage.Path + "/"

// newConsoleEnv returns an env in which members of SRE administer the console, and members of Auditors look at it.
func newConsoleEnv(t *testing.T) *env {
	t.Helper()
	h := newEnv(t)
	h.change(func(tx *directory.Tx) error {
		return tx.PutGroup(&directory.Group{ExternalID: "g-aud", DisplayName: "Auditors"})
	})
	h.settings.Console = manage.Settings{Admins: manage.Members{Groups: []policy.GroupRef{{ID: "g-sre"}}}, Auditors: manage.Members{Groups: []policy.GroupRef{{ID: "g-aud"}}}}
	if err := h.proxy.Load(h.settings); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestConsole_IsForItsGroups(t *testing.T) {
	h := newEnv(t)
	if p := h.browser(h.alice).open(consoleURL); p.StatusCode != http.StatusNotFound || !strings.Contains(p.body, "console.admins.groups") {
		t.Errorf("without groups: %d %s", p.StatusCode, p.body)
	}
	h = newConsoleEnv(t)
	if p := h.browser(h.alice).open(consoleURL); p.StatusCode != http.StatusOK || !strings.Contains(p.body, "administrator") {
		t.Errorf("an administrator: %d %s", p.StatusCode, p.body)
	}
	if p := h.browser(h.bob).open(consoleURL); p.StatusCode != http.StatusForbidden {
		t.Errorf("nobody in particular: %d %s", p.StatusCode, p.body)
	}
	bob, _ := h.directory.Lookup(h.bob.OID)
	for _, g := range h.directory.Groups() {
		if g.ExternalID == "g-aud" {
			h.change(func(tx *directory.Tx) error { _, err := tx.AddMembers(g.ID, []string{bob.ID}); return err })
		}
	}
	auditor := h.browser(h.bob)
	if p := auditor.open(consoleURL); p.StatusCode != http.StatusOK || !strings.Contains(p.body, "auditor") {
		t.Errorf("an auditor: %d %s", p.StatusCode, p.body)
	}
	if p := auditor.submit(consoleURL+"anything", url.Values{"a": {"b"}}.Encode()); p.StatusCode != http.StatusForbidden {
		t.Errorf("an auditor who acts: %d %s", p.StatusCode, p.body)
	}
	if p := auditor.open("https://" + appHost + manage.Path + "/"); p.StatusCode != http.StatusNotFound {
		t.Errorf("on the host of an application: %d %s", p.StatusCode, p.body)
	}
}

var formToken = regexp.MustCompile(`name="(token|once)" value="([^"]*)"`)

// tokenForm returns the form of the page of tokens, filled in.
func tokenForm(p page, name string) string {
	form := url.Values{"name": {name}, "for": {"90d"}}
	for _, m := range formToken.FindAllStringSubmatch(p.body, -1) {
		form.Set(m[1], html.UnescapeString(m[2]))
	}
	return form.Encode()
}

func TestConsole_ActsForAdministratorsWithARecentSignIn(t *testing.T) {
	const tokensURL = consoleURL + "provisioning/tokens"
	h := newConsoleEnv(t)
	h.settings.Console.MaxAge = time.Minute
	if err := h.proxy.Load(h.settings); err != nil {
		t.Fatal(err)
	}
	made := func() int { return len(h.events(audit.KindToken)) }
	alice := h.browser(h.alice)
	form := tokenForm(alice.open(tokensURL), "entra")
	for name, header := range map[string][]string{"another_site": {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		"another_host": {"Sec-Fetch-Site", "same-site", "Origin", "https://" + appHost}, "no_site": {"Sec-Fetch-Site", "", "Origin", "null"}} {
		if p := alice.submit(tokensURL, form, header...); p.StatusCode != http.StatusForbidden || made() != 0 {
			t.Errorf("from %s: %d %s", name, p.StatusCode, p.body)
		}
	}
	other := h.browser(h.mallory)
	if p := other.submit(tokensURL, tokenForm(other.open(tokensURL), "x")); p.StatusCode != http.StatusOK || made() != 1 {
		t.Errorf("another administrator: %d %s", p.StatusCode, p.body)
	}
	if p := other.submit(tokensURL, form); p.StatusCode != http.StatusBadRequest || made() != 1 {
		t.Errorf("with the token of another session: %d %s", p.StatusCode, p.body)
	}
	if p := alice.submit(tokensURL, strings.Replace(form, "token=", "token=A", 1)); p.StatusCode != http.StatusBadRequest || made() != 1 {
		t.Errorf("with a token that is made up: %d %s", p.StatusCode, p.body)
	}
	for _, s := range h.sessions.List() {
		if s.UserName == h.alice.UPN {
			if err := h.sessions.End(t.Context(), s.ID, session.ReasonIdle); err != nil {
				t.Fatal(err)
			}
		}
	}
	alice.open("https://" + appHost + "/") // the provider does not say when she signed in
	p := alice.submit(tokensURL, tokenForm(alice.open(tokensURL), "old"))
	sealed := p.sealed()
	if p.StatusCode != http.StatusUnauthorized || sealed == "" || made() != 1 {
		t.Fatalf("with an old sign-in: %d %s", p.StatusCode, p.body)
	}
	alice.open("https://" + loginHost + "/.sallyport/login?max_age=60&return_to=/.sallyport/form")
	if p := alice.submit(tokensURL, tokenForm(p, "old")); p.StatusCode != http.StatusBadRequest || made() != 1 {
		t.Errorf("without the token of the new session: %d %s", p.StatusCode, p.body)
	}
	if p := alice.submit(tokensURL, sealed); p.StatusCode != http.StatusOK || made() != 2 {
		t.Errorf("the form that was kept, after the sign-in: %d %s", p.StatusCode, p.body)
	}
	if e := h.events(audit.KindToken); !strings.Contains(e[1], `"role":"admin"`) || !strings.Contains(e[1], `"name":"alice@example.com"`) {
		t.Errorf("the record does not say who acted: %s", e[1])
	}
}

// TestConsole_DecidesAboutFormsAgain: a form that was kept while an administrator signed in is carried out only if it is
// of the console, and if they still may.
func TestConsole_DecidesAboutFormsAgain(t *testing.T) {
	const tokensURL = consoleURL + "provisioning/tokens"
	h := newConsoleEnv(t)
	made := func() int { return len(h.events(audit.KindToken)) }
	alice := h.browser(h.alice)
	foreign := alice.postFrom("https://evil.example", tokensURL, tokenForm(alice.open(tokensURL), "foreign"))
	if foreign.sealed() == "" {
		t.Fatalf("a form of another site: %d %s", foreign.StatusCode, foreign.body)
	}
	if p := alice.submit(tokensURL, foreign.sealed()); p.StatusCode != http.StatusForbidden || made() != 0 {
		t.Errorf("a form of another site, which the administrator sends on: %d %s", p.StatusCode, p.body)
	}

	h.settings.Console.MaxAge = time.Minute
	if err := h.proxy.Load(h.settings); err != nil {
		t.Fatal(err)
	}
	mallory := h.browser(h.mallory)
	mallory.open("https://" + appHost + "/") // the provider does not say when they signed in
	late := mallory.submit(tokensURL, tokenForm(mallory.open(tokensURL), "late"))
	if late.StatusCode != http.StatusUnauthorized || late.sealed() == "" {
		t.Fatalf("with an old sign-in: %d %s", late.StatusCode, late.body)
	}
	h.removeFromGroup(h.mallory.UPN)
	mallory.open("https://" + loginHost + "/.sallyport/login?max_age=60&return_to=/.sallyport/form")
	if p := mallory.submit(tokensURL, late.sealed()); p.StatusCode != http.StatusForbidden || made() != 0 {
		t.Errorf("a form that was kept, of who is no administrator any more: %d %s", p.StatusCode, p.body)
	}
}

// TestConsole_StreamEndsWithItsViewersAccess: a page that is kept up to date is a live request like any other, gets events as
// they happen, and is cut when its viewer leaves the group.
func TestConsole_StreamEndsWithItsViewersAccess(t *testing.T) {
	h := newConsoleEnv(t)
	alice := h.browser(h.alice)
	alice.open(consoleURL)
	res := must[*http.Response](t)(alice.client.Get(consoleURL + "live/events"))
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() || lines.Text() != "event: list" {
		t.Fatalf("%d %v: %q %v", res.StatusCode, res.Header, lines.Text(), lines.Err())
	}
	list := h.proxy.Live(live.Filter{Limit: 10})
	if len(list.Requests) != 1 || list.Requests[0].Kind != live.Events || list.Requests[0].Route != manage.RouteName || list.Requests[0].UserName != h.alice.UPN {
		t.Errorf("%+v", list)
	}
	h.removeFromGroup(h.alice.UPN)
	for lines.Scan() { // until it ends
	}
	if lines.Err() == nil {
		t.Error("the stream looks complete")
	}
	if p := alice.open(consoleURL); p.StatusCode != http.StatusForbidden {
		t.Errorf("the page: %d", p.StatusCode)
	}
}

var styleSheet = regexp.MustCompile(`href="([^"]*console\.css)"`)

// TestConsole_FilesOfPagesNeedNoDecision: they are no secret, and the record is not to have five lines for each page.
func TestConsole_FilesOfPagesNeedNoDecision(t *testing.T) {
	h := newConsoleEnv(t)
	p := h.browser(h.alice).open(consoleURL)
	m := styleSheet.FindStringSubmatch(p.body)
	if m == nil {
		t.Fatalf("%d: no style sheet in %s", p.StatusCode, p.body)
	}
	before := len(h.events(audit.KindDecision))
	for path, want := range map[string]int{m[1]: http.StatusOK, manage.StaticPath: http.StatusNotFound, manage.StaticPath + "/x/console.css": http.StatusNotFound} {
		if p := h.browser(h.bob).ask("GET", "https://"+loginHost+path, nil); p.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, p.StatusCode, want)
		}
	}
	if after := len(h.events(audit.KindDecision)); after != before {
		t.Errorf("%d decisions were recorded", after-before)
	}
}
