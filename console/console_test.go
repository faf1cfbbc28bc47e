package console_test

import (
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"sallyport/console"
)

var keep = flag.String("keep", "", "write every page to this directory")

var alice = console.Person{Name: "Alice Ng", UserName: "alice@example.com"}

// pages holds examples of every page, by name.
var pages = map[string]struct {
	status int
	write  func(*console.Pages, http.ResponseWriter)
	want   []string
}{
	"denied": {http.StatusForbidden, func(p *console.Pages, w http.ResponseWriter) {
		p.Denied(w, console.Denied{Person: alice, Title: "You may not open this", Method: "DELETE",
			URL: "https://grafana.example.com/api/dashboards/42", Why: "A rule denies this to people in your groups.",
			Owner: "observability@example.com", Request: "4f0c2a", SignOut: "/.sallyport/logout"})
	}, []string{"Alice Ng", "alice@example.com", "DELETE https://grafana.example.com/api/dashboards/42",
		"A rule denies this", "mailto:observability@example.com", "4f0c2a", "/.sallyport/logout"}},
	"denied_without_owner": {http.StatusForbidden, func(p *console.Pages, w http.ResponseWriter) {
		p.Denied(w, console.Denied{Title: "Your account is not set up here", Why: "Nobody has told us of it yet.", Request: "77"})
	}, []string{"Your account is not set up here", "the people who run this service"}},
	"code": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.Code(w, console.Code{Action: "/.sallyport/breakglass", ReturnTo: "https://wiki.example.com/team/", Request: "r3"})
	}, []string{`method="post"`, `action="/.sallyport/breakglass"`, `name="code"`, `value="https://wiki.example.com/team/"`, "r3"}},
	"code_that_is_wrong": {http.StatusForbidden, func(p *console.Pages, w http.ResponseWriter) {
		p.Code(w, console.Code{Action: "/.sallyport/breakglass", ReturnTo: "/", Wrong: true})
	}, []string{`role="alert"`, "This code is not valid"}},
	"error_while_a_code_is_armed": {http.StatusServiceUnavailable, func(p *console.Pages, w http.ResponseWriter) {
		p.Error(w, console.Error{Status: 503, Title: "Signing in does not work right now", Code: "/.sallyport/breakglass?return_to=%2F"})
	}, []string{`href="/.sallyport/breakglass?return_to=%2F"`}},
	"failed_while_a_code_is_armed": {http.StatusServiceUnavailable, func(p *console.Pages, w http.ResponseWriter) {
		p.Failed(w, console.Failed{Status: 503, Title: "Signing in did not work", Code: "/.sallyport/breakglass?return_to=%2F"})
	}, []string{`href="/.sallyport/breakglass?return_to=%2F"`}},
	"denied_with_a_form_to_ask": {http.StatusForbidden, func(p *console.Pages, w http.ResponseWriter) {
		p.Denied(w, console.Denied{Person: alice, Title: "You may not open this", Access: &console.Access{Form: form("")}})
	}, []string{`action="/.sallyport/request"`, `method="post"`, `value="/d/1?tab=2&amp;x=%22"`, `value="sre"`, `<label for="reason">Why do you need it?</label>`, "required", "after 4 hours at the latest", "Request access"}},
	"denied_with_an_open_request": {http.StatusForbidden, func(p *console.Pages, w http.ResponseWriter) {
		p.Denied(w, console.Denied{Person: alice, Title: "You may not open this", Access: &console.Access{Page: "https://login.example.com/.sallyport/requests/0a"}})
	}, []string{`href="https://login.example.com/.sallyport/requests/0a"`, "waits for a decision"}},
	"denied_where_nobody_approves": {http.StatusForbidden, func(p *console.Pages, w http.ResponseWriter) {
		p.Denied(w, console.Denied{Person: alice, Title: "You may not open this", Owner: "owner@example.com", Access: &console.Access{}})
	}, []string{"nobody may approve it at the moment"}},
	"ask": {http.StatusUnprocessableEntity, func(p *console.Pages, w http.ResponseWriter) {
		p.Ask(w, console.Ask{Status: 422, Person: alice, Title: "Your request was not sent", Why: "Say why.", URL: "https://grafana.example.com/d/1", Form: form("a <b>"), Back: "https://grafana.example.com/d/1?tab=2", Request: "r4"})
	}, []string{`role="alert"`, `value="a &lt;b&gt;"`, `href="https://grafana.example.com/d/1?tab=2"`, "r4"}},
	"asked": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.Asked(w, console.Asked{Person: alice, URL: "https://grafana.example.com/d/1", Reason: "On call", Expires: "10 May 09:00 UTC", Deciders: []string{"bob@example.com", "carol@example.com"},
			Needed: 2, Page: "https://login.example.com/.sallyport/requests/0a", Back: "https://grafana.example.com/d/1?tab=2"})
	}, []string{"Your request was sent", "2 of these people have to approve it: bob@example.com, carol@example.com.", "On call", `href="https://login.example.com/.sallyport/requests/0a"`, `href="https://grafana.example.com/d/1?tab=2"`}},
	"request": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.Asking(w, http.StatusOK, console.Asking{ID: "0a", Title: "bob@example.com asks for access", State: "Waiting", Mark: "fault", Open: true, Asker: console.Person{Name: "bob@example.com"},
			Subject: console.Subject{URL: "https://grafana.example.com/d/1", Route: "grafana", Policy: "sre", Reason: "On call", Made: "3 May 2026 09:00 UTC", Expires: "10 May 09:00 UTC", LastGrant: "Until 1 May 2026 10:00 UTC, approved by carol@example.com", Others: "dave@example.com"},
			Outcome: console.Outcome{MayDecide: true, Choices: []console.Choice{{Value: "30m0s", Text: "30 minutes"}, {Value: "1h0m0s", Text: "1 hour", Usual: true}}, Needed: 2, Approvals: []string{"carol@example.com, 3 May 09:10 UTC"}},
			Action:  "/.sallyport/requests/0a", All: "/.sallyport/requests"})
	}, []string{"bob@example.com asks for access", "On call", "approved by carol@example.com", "dave@example.com", "1 of 2", `<option value="1h0m0s" selected>1 hour</option>`, `<label for="for">For how long?</label>`, `value="approve"`, `value="deny"`, `<label for="why">`}},
	"request_of_ones_own": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.Asking(w, http.StatusOK, console.Asking{ID: "0a", Title: "Your request for access", State: "Waiting", Open: true, Mine: true, Asker: alice,
			Outcome: console.Outcome{Deciders: []string{"bob@example.com"}, Needed: 1}, Action: "/.sallyport/requests/0a", All: "/.sallyport/requests"})
	}, []string{"This person decides: bob@example.com.", `value="withdraw"`, "You did not say why."}},
	"request_that_was_approved": {http.StatusConflict, func(p *console.Pages, w http.ResponseWriter) {
		p.Asking(w, http.StatusConflict, console.Asking{ID: "0a", Title: "Your request for access", Notice: "This request is not open any more.", State: "Approved", Mark: "yes", Mine: true, Asker: alice,
			Outcome: console.Outcome{Decision: "Approved on 3 May 2026 09:10 UTC by bob@example.com", DecidedWhy: "Good luck", Access: "Until 3 May 2026 10:10 UTC (1 hour left)"},
			Action:  "/.sallyport/requests/0a", All: "/.sallyport/requests", Link: "https://grafana.example.com/d/1", Ends: true})
	}, []string{`role="alert"`, "by bob@example.com", "Good luck", "1 hour left", `href="https://grafana.example.com/d/1"`, `value="end"`}},
	"requests": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.Requests(w, console.Requests{Person: alice, Waiting: []console.RequestLine{{Page: "/.sallyport/requests/0a", Title: "grafana for bob@example.com", Text: "https://grafana.example.com/d/1", State: "Waiting"}},
			Mine: []console.RequestLine{{Page: "/.sallyport/requests/0b", Title: "wiki", State: "Denied"}}, Others: []console.RequestLine{{Page: "/.sallyport/requests/0c", Title: "wiki for bob@example.com", State: "Expired"}},
			Grants: []console.GrantLine{{Page: "/.sallyport/requests/0d", Title: "orders", Until: "3 May 10:10 UTC", Left: "59 minutes"}, {Title: "sre", Until: "3 May 10:20 UTC", Left: "1 hour"}}})
	}, []string{`href="/.sallyport/requests/0a"`, "grafana for bob@example.com", "Denied", "Expired", `href="/.sallyport/requests/0d"`, "59 minutes left"}},
	"requests_without_any": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.Requests(w, console.Requests{Person: alice})
	}, []string{"No request waits for you.", "You have made none.", "You have none at the moment."}},
	"error": {http.StatusBadGateway, func(p *console.Pages, w http.ResponseWriter) {
		p.Error(w, console.Error{Status: 502, Title: "The application does not respond", Detail: "It may be starting.", Request: "abc", Retry: "/x"})
	}, []string{"502", "The application does not respond", "abc", `href="/x"`}},
	"failed": {http.StatusForbidden, func(p *console.Pages, w http.ResponseWriter) {
		p.Failed(w, console.Failed{Status: 403, Title: "Signing in did not work", Why: "It took too long.", Request: "r1", Retry: "/.sallyport/login"})
	}, []string{"Signing in did not work", "It took too long.", "/.sallyport/login"}},
	"continue": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.Continue(w, console.Continue{Next: "https://idp.example.com/authorize?state=a.b&x=%22y", State: "a.b"})
	}, []string{`href="https://idp.example.com/authorize?state=a.b&amp;x=%22y"`, `content="0; url=https://idp.example.com/authorize?state=a.b&amp;x=%22y"`, `data-state="a.b"`}},
	"form": {http.StatusUnauthorized, func(p *console.Pages, w http.ResponseWriter) {
		p.Form(w, console.Form{Status: 401, Title: "Your session has expired", Why: "Sign in and try again.", Method: "POST", URL: "https://wiki.example.com/save",
			Action: "https://wiki.example.com/save?page=1&x=(y|z)", Sealed: "AAECAw", SignIn: "/.sallyport/login?return_to=%2F.sallyport%2Fform", Request: "r2"})
	}, []string{`action="https://wiki.example.com/save?page=1&amp;x=%28y%7cz%29"`, `value="AAECAw"`, "POST https://wiki.example.com/save", `target="_blank"`, `data-form="press"`, "r2"}},
	"form_of_another_site": {http.StatusUnauthorized, func(p *console.Pages, w http.ResponseWriter) {
		p.Form(w, console.Form{Status: 401, Title: "Another site sent a form", Why: "Send it only if you expect it.", From: "https://pay.example.net", Method: "POST",
			URL: "https://shop.example.com/paid", Action: "https://shop.example.com/paid", Sealed: "AAECAw", Auto: true})
	}, []string{"https://pay.example.net", `action="https://shop.example.com/paid"`, `data-form="auto"`}},
	"resume": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.Resume(w, console.Resume{Person: alice})
	}, []string{"Alice Ng", "<button class=\"button\" disabled", "data-kept hidden"}},
	"signout": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.SignOut(w, console.SignOut{Person: alice, Action: "/.sallyport/logout", ReturnTo: "https://a.example.com/b"})
	}, []string{`method="post"`, `action="/.sallyport/logout"`, `value="https://a.example.com/b"`, "Alice Ng"}},
	"signout_without_return_to": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.SignOut(w, console.SignOut{Action: "/.sallyport/logout"})
	}, []string{`method="post"`}},
	"switch": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.Switch(w, console.Switch{Person: alice, Action: "/.sallyport/logout", SignIn: "https://a.example.com/b"})
	}, []string{`method="post"`, `action="/.sallyport/logout"`, `name="at" value="switch"`, `value="https://a.example.com/b"`, "Alice Ng"}},
	"sessions": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		at := time.Date(2026, 5, 3, 9, 0, 0, 0, time.UTC)
		p.Sessions(w, http.StatusOK, console.Sessions{Person: alice, Action: console.SessionsPath, More: 3, Notice: "The session has ended.", Lines: []console.SessionLine{
			{ID: "0a", Browser: "Firefox on Linux", Address: "203.0.113.7", Began: at, Used: at, Expires: at.Add(time.Hour), This: true},
			{ID: "0b", Browser: "Safari on iPhone", Address: "203.0.113.8", Began: at, Used: time.Now().Add(-3 * time.Hour), Expires: at.Add(time.Hour), BreakGlass: true}}})
	}, []string{"Firefox on Linux", "203.0.113.7", "This browser", "Break-glass", "Safari on iPhone", `value="0b"`, "3 hours ago", "3 May 09:00 UTC", `datetime="2026-05-03T10:00:00Z"`, "There are 3 more", `value="others"`, `value="all"`, "The session has ended."}},
	"sessions_with_one": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.Sessions(w, http.StatusOK, console.Sessions{Person: alice, Action: console.SessionsPath, Lines: []console.SessionLine{{ID: "0a", Browser: "Firefox on Linux", This: true}}})
	}, []string{"This browser", "not known", `value="all"`}},
	"offer": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.Offering(w, console.Offering{Person: alice, Route: console.Route{Name: "grafana", URL: "https://grafana.example.com/", Owner: "observability@example.com", Tile: console.Tile{Title: "Grafana", Description: "Dashboards"}}, Access: &console.Access{Form: form("")}})
	}, []string{"Ask for access to Grafana", "Dashboards", "https://grafana.example.com/", "mailto:observability@example.com", `action="/.sallyport/request"`, `value="sre"`}},
	"offer_where_nobody_approves": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.Offering(w, console.Offering{Person: alice, Route: console.Route{Name: "grafana"}, Access: &console.Access{}})
	}, []string{"Nobody may approve it at the moment. Turn to the people who run this service."}},
	"offer_asked_already": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.Offering(w, console.Offering{Person: alice, Route: console.Route{Name: "grafana"}, Access: &console.Access{Page: "https://login.example.com/.sallyport/requests/0a"}})
	}, []string{`href="https://login.example.com/.sallyport/requests/0a"`, "waits for a decision"}},
	"error_with_ways_on": {http.StatusNotFound, func(p *console.Pages, w http.ResponseWriter) {
		p.Error(w, console.Error{Status: 404, Title: "There is nothing here", Portal: "https://login.example.com/"})
	}, []string{`href="https://login.example.com/"`}},
	"failed_with_ways_on": {http.StatusUnauthorized, func(p *console.Pages, w http.ResponseWriter) {
		p.Failed(w, console.Failed{Status: 401, Title: "Signing in did not work", Retry: "/r", OtherAccount: "/o", Portal: "https://login.example.com/", Ask: true})
	}, []string{`href="/r"`, `href="/o"`, `href="https://login.example.com/"`, "ask the people who run this service"}},
	"denied_with_ways_on": {http.StatusForbidden, func(p *console.Pages, w http.ResponseWriter) {
		p.Denied(w, console.Denied{Person: alice, Title: "You may not open this", Portal: "https://login.example.com/", OtherAccount: "/o", SignOut: "/s"})
	}, []string{`href="https://login.example.com/"`, `href="/o"`, `href="/s"`}},
	"portal_with_everything": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.Portal(w, console.Portal{Person: alice, SignOut: "/.sallyport/logout", Sessions: console.SessionsPath, Console: "/.sallyport/console/", Routes: []console.Route{
			{Name: "grafana", URL: "https://grafana.example.com/", Pinned: true, Used: time.Now().Add(-2 * time.Hour), Tile: console.Tile{Title: "Grafana", Description: "Dashboards", Group: "Observability"}},
			{Name: "wiki", URL: "https://wiki.example.com/team", Tile: console.Tile{Group: "Documents"}}, {Name: "mail", URL: "https://mail.example.com/"},
			{Name: "loki", URL: "https://loki.example.com/", Tile: console.Tile{Icon: "/.sallyport/assets/00.svg", Group: "Observability"}}},
			Requestable: []console.Route{{Name: "orders", URL: "https://orders.example.com/", Ask: "/.sallyport/ask?route=orders"}, {Name: "sales", Ask: "/.sallyport/ask?route=sales", Asked: "/.sallyport/requests/0a"}}})
	}, []string{"<h2>Pinned</h2>", "<h2>Documents</h2>", "<h2>Observability</h2>", "<h2>Other applications</h2>", `aria-label="Unpin Grafana"`, `aria-label="Pin wiki"`, "2 hours ago", `action="/.sallyport/pins"`,
		`src="/.sallyport/assets/00.svg"`, "You may ask for access", `href="/.sallyport/ask?route=orders"`, `href="/.sallyport/requests/0a"`, `href="/.sallyport/sessions"`, `href="/.sallyport/console/"`, "Dashboards", "wiki.example.com/team"}},
	"signedout": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.SignedOut(w, console.SignedOut{SignIn: "/", Provider: "https://idp.example.com/logout"})
	}, []string{"You are signed out", "https://idp.example.com/logout"}},
	"portal": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.Portal(w, console.Portal{Person: alice, SignOut: "/.sallyport/logout", Expires: "18:30 UTC", Routes: []console.Route{
			{Name: "grafana", URL: "https://grafana.example.com/", Owner: "observability@example.com"},
			{Name: "wiki", URL: "https://wiki.example.com/team/", Owner: "The documentation people"}}})
	}, []string{"grafana", "https://grafana.example.com/", "The documentation people", "18:30 UTC", `method="post"`}},
	"portal_with_requests": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.Portal(w, console.Portal{Person: alice, SignOut: "/.sallyport/logout", Access: &console.Portion{Page: "https://login.example.com/.sallyport/requests", Waiting: 2,
			Mine: []console.RequestLine{{Page: "/.sallyport/requests/0b", Title: "wiki", State: "Waiting"}}, Grants: []console.GrantLine{{Title: "orders", Until: "3 May 10:10 UTC", Left: "59 minutes"}}}})
	}, []string{`href="https://login.example.com/.sallyport/requests"`, ">2</b> requests wait for your decision", "/.sallyport/requests/0b", "59 minutes left"}},
	"portal_without_routes": {http.StatusOK, func(p *console.Pages, w http.ResponseWriter) {
		p.Portal(w, console.Portal{Person: alice, SignOut: "/.sallyport/logout"})
	}, []string{"You may not open any application"}},
}

// form returns a form to ask for access, in which the person has written a reason.
func form(reason string) *console.AskForm {
	return &console.AskForm{Action: console.AskPath, Policy: "sre", URL: `/d/1?tab=2&x=%22`, Reason: reason, NeedsReason: true, Longest: "4 hours"}
}

// scriptedPages are the pages that have a script. No other may have one.
var scriptedPages = map[string]bool{"continue": true, "denied": true, "failed": true, "form": true, "portal": true, "resume": true, "sessions": true}

// TestPages_Content checks for an example of every page its status, its text, its Content-Security-Policy and what a
// screen reader needs.
func TestPages_Content(t *testing.T) {
	p, err := console.New()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("pages/*.html")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".html"); name != "layout" && pages[name].write == nil {
			t.Errorf("there is no example of %s", file)
		}
	}
	for name, page := range pages {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			page.write(p, w)
			body := w.Body.String()
			if *keep != "" {
				os.WriteFile(filepath.Join(*keep, name+".html"), []byte(body), 0o600)
			}
			if w.Code != page.status {
				t.Errorf("status %d, want %d", w.Code, page.status)
			}
			for _, want := range page.want {
				if !strings.Contains(body, want) {
					t.Errorf("the page lacks %q", want)
				}
			}
			checkPolicy(t, w.Header(), body)
			if scripted := scriptedPages[strings.Split(name, "_")[0]]; scripted != strings.Contains(body, "<script") {
				t.Errorf("the page has a script: %v, want %v", !scripted, scripted)
			}
			checkAccessible(t, body)
		})
	}
}

// checkPolicy checks that the Content-Security-Policy allows the page's own style sheet and nothing else.
func checkPolicy(t *testing.T, h http.Header, body string) {
	t.Helper()
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(body)
	if style == nil {
		t.Fatal("no style")
	}
	sum := sha256.Sum256([]byte(style[1]))
	csp := h.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("policy %q lacks %s", csp, want)
		}
	}
	if redirects := strings.Contains(body, `name="return_to"`) || strings.Contains(body, `name="sign_in"`) || strings.Contains(body, `name="sallyport-form"`); redirects == strings.Contains(csp, "form-action 'self'") {
		t.Errorf("policy %q for a page whose form redirects: %v", csp, redirects)
	}
	checkScripts(t, csp, body)
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin"} {
		if h.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, h.Get(name), want)
		}
	}
	if strings.Contains(body, " style=") || strings.Contains(body, " onclick") {
		t.Error("the page has a handler or an inline style, which the policy forbids")
	}
}

// checkScripts checks that the policy allows the one script of the page, if there is one, and no other.
func checkScripts(t *testing.T, csp, body string) {
	t.Helper()
	want := "" // of script-src
	if script := regexp.MustCompile(`(?s)<script[^>]*>(.*)</script>`).FindStringSubmatch(body); script != nil {
		sum := sha256.Sum256([]byte(script[1]))
		want = "script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	got := regexp.MustCompile(`script-src[^;]*`).FindString(csp)
	if strings.Contains(csp, "unsafe") || got != want || strings.Count(body, "<script") > 1 {
		t.Errorf("policy %q allows other scripts than the page's, or arbitrary styles; want %q", csp, want)
	}
}

// checkAccessible checks what a screen reader needs first: a language, a title, one heading, one main element.
func checkAccessible(t *testing.T, body string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		seen[n.Data]++
		for _, a := range n.Attr {
			if n.Data == "html" && a.Key == "lang" && a.Val == "en" {
				seen["lang"]++
			}
		}
	}
	for _, element := range []string{"lang", "title", "h1", "main", "header"} {
		if seen[element] != 1 {
			t.Errorf("the page has %d of %s, want 1", seen[element], element)
		}
	}
	if !strings.Contains(body, `name="viewport"`) {
		t.Error("the page has no viewport meta element, so it is unreadable on a phone")
	}
}

// TestPages_EscapeText checks that hostile text adds no element, handler or script URL to a page.
func TestPages_EscapeText(t *testing.T) {
	p, err := console.New()
	if err != nil {
		t.Fatal(err)
	}
	const evil = `"><img src=x onerror=alert(1)><script>alert(1)</script>{{.}}`
	w := httptest.NewRecorder()
	p.Denied(w, console.Denied{Person: console.Person{Name: evil, UserName: evil}, Title: evil, Method: evil, URL: evil, Why: evil,
		Owner: evil, Request: evil, SignOut: "javascript:alert(1)"})
	p.Portal(w, console.Portal{Person: console.Person{Name: evil}, Routes: []console.Route{{Name: evil, URL: "javascript:alert(1)", Owner: "a@b.example?cc=evil@x.example"}}})
	p.SignOut(w, console.SignOut{Action: "/x", ReturnTo: evil})
	p.Continue(w, console.Continue{Next: "https://idp.example.com/" + evil, State: evil})
	p.Form(w, console.Form{Status: 401, Title: evil, Why: evil, From: evil, Method: evil, URL: evil, Action: "javascript:alert(1)", Sealed: evil, SignIn: "javascript:alert(1)"})
	p.Error(w, console.Error{Status: 500, Title: evil, Detail: evil, Retry: "data:text/html,x"})
	ask := &console.AskForm{Action: "javascript:alert(1)", Policy: evil, URL: evil, Reason: evil, Longest: evil}
	p.Denied(w, console.Denied{Title: evil, Access: &console.Access{Form: ask}})
	p.Denied(w, console.Denied{Title: evil, Access: &console.Access{Page: "javascript:alert(1)"}})
	p.Ask(w, console.Ask{Status: 400, Person: console.Person{Name: evil}, Title: evil, Why: evil, URL: evil, Form: ask, Back: "javascript:alert(1)", Request: evil})
	p.Asked(w, console.Asked{Person: console.Person{Name: evil}, URL: evil, Reason: evil, Expires: evil, Deciders: []string{evil, evil}, Page: "javascript:alert(1)", Back: "javascript:alert(1)"})
	lines, grants := []console.RequestLine{{Page: "javascript:alert(1)", Title: evil, Text: evil, State: evil}}, []console.GrantLine{{Page: "javascript:alert(1)", Title: evil, Until: evil, Left: evil}}
	p.Requests(w, console.Requests{Person: console.Person{Name: evil}, Waiting: lines, Mine: lines, Others: lines, Grants: grants})
	p.Portal(w, console.Portal{Access: &console.Portion{Page: "javascript:alert(1)", Waiting: 1, Mine: lines, Grants: grants}})
	p.Asking(w, http.StatusOK, console.Asking{ID: evil, Title: evil, Notice: evil, State: evil, Mark: evil, Open: true, Mine: true, Asker: console.Person{Name: evil, UserName: evil}, Link: "javascript:alert(1)", Ends: true,
		Subject: console.Subject{URL: evil, Route: evil, Policy: evil, Reason: evil, Made: evil, Expires: evil, LastGrant: evil, Others: evil},
		Outcome: console.Outcome{MayDecide: true, Choices: []console.Choice{{Value: evil, Text: evil}}, Deciders: []string{evil}, Needed: 2, Approvals: []string{evil}, Decision: evil, DecidedWhy: evil, Access: evil},
		Action:  "javascript:alert(1)", All: "javascript:alert(1)"})
	tile := console.Route{Name: evil, URL: "javascript:alert(1)", Owner: evil, Tile: console.Tile{Title: evil, Description: evil, Group: evil}, Ask: "javascript:alert(1)"}
	pinned := tile
	pinned.Ask = ""
	p.Portal(w, console.Portal{Routes: []console.Route{pinned}, Requestable: []console.Route{tile}, Console: "javascript:alert(1)", Sessions: "javascript:alert(1)"})
	p.Offering(w, console.Offering{Person: console.Person{Name: evil}, Route: tile, Access: &console.Access{Form: ask}})
	p.Sessions(w, http.StatusOK, console.Sessions{Person: console.Person{Name: evil}, Notice: evil, Action: "javascript:alert(1)", Lines: []console.SessionLine{{ID: evil, Browser: evil, Agent: evil, Address: evil}}})
	p.Switch(w, console.Switch{Person: console.Person{Name: evil}, Action: "javascript:alert(1)", SignIn: evil})
	p.Error(w, console.Error{Status: 500, Title: evil, Portal: "javascript:alert(1)"})
	use, err := p.Prepare(console.Settings{Brand: console.Brand{Title: evil}, Contact: evil})
	if err != nil {
		t.Fatal(err)
	}
	use()
	p.Denied(w, console.Denied{Title: evil})
	root, err := html.Parse(strings.NewReader(w.Body.String()))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if n.Data == "img" || n.Data == "script" && strings.Contains(n.FirstChild.Data, "alert") {
			t.Errorf("text became an element <%s>", n.Data)
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || strings.HasPrefix(a.Val, "javascript:") || strings.HasPrefix(a.Val, "data:text") || strings.HasPrefix(a.Val, "mailto:a@b.example?") {
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
		}
	}
}
