package proxy_test

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/entratest"
	"sallyport/policy"
	"sallyport/proxy"
	"sallyport/session"
)

const (
	reportsHost = "reports.example.com"
	reports     = "https://" + reportsHost
	askURL      = reports + "/.sallyport/request"
	requests    = "https://" + loginHost + "/.sallyport/requests"
)

// newAccessEnv returns an env with an application, reports, for which everybody may ask: members of SRE decide. At
// /closed it has another route, for which nobody may ask.
func newAccessEnv(t *testing.T, change func(*policy.Requestable)) *env {
	t.Helper()
	return newAccessEnvOf(t, session.Defaults(), change)
}

// newAccessEnvOf is newAccessEnv with settings of sessions.
func newAccessEnvOf(t *testing.T, sessions session.Settings, change func(*policy.Requestable)) *env {
	t.Helper()
	h := newEnvOf(t, sessions)
	q := &policy.Requestable{By: policy.Requesters{Anyone: true}, Approvers: policy.Approvers{Groups: []policy.GroupRef{{ID: "g-sre", Name: "SRE"}}}, Max: 4 * time.Hour}
	if change != nil {
		change(q)
	}
	unmet := policy.Rule{Allow: &policy.Match{Users: []string{"nobody@example.com"}}}
	h.settings.Policies = append(h.settings.Policies, policy.Named{Name: "reports", Rules: []policy.Rule{unmet}, Requestable: q}, policy.Named{Name: "closed", Rules: []policy.Rule{unmet}})
	app := h.settings.Routes[0].Upstream
	h.settings.Routes = append(h.settings.Routes, proxy.Route{Name: "reports", Host: reportsHost, Upstream: app, Policy: []string{"reports"}, Owner: "owner@example.com"},
		proxy.Route{Name: "closed", Host: reportsHost, Path: "/closed", Upstream: app, Policy: []string{"closed"}})
	if err := h.proxy.Load(h.settings); err != nil {
		t.Fatal(err)
	}
	return h
}

// addPerson adds somebody to the tenant and to the directory, in no group.
func (h *env) addPerson(name string) entratest.Person {
	h.t.Helper()
	p := h.tenant.Add(entratest.Person{UPN: name + "@example.com", Name: name})
	h.change(func(tx *directory.Tx) error {
		return tx.PutUser(&directory.User{ExternalID: p.OID, UserName: p.UPN, Active: true, Document: fmt.Appendf(nil, `{"displayName":%q}`, p.Name)})
	})
	return p
}

// form returns the form of the page of a denial, with a reason.
func form(policy, target, reason string) string {
	return url.Values{"policy": {policy}, "url": {target}, "reason": {reason}}.Encode()
}

var requestLink = regexp.MustCompile(`https://login\.example\.com(/\.sallyport/requests/[0-9a-f]+)`)

// request has a person ask for access to reports, and returns the page of the request.
func (h *env) request(g *browser, target string) (pageURL string) {
	h.t.Helper()
	g.open(reports + target)
	p := g.submit(askURL, form("reports", target, "I am on call"))
	link := requestLink.FindString(p.body)
	if p.StatusCode != http.StatusOK || link == "" || !strings.Contains(p.body, "Your request was sent") {
		h.t.Fatalf("%d %s", p.StatusCode, p.body)
	}
	return link
}

// made returns how many requests were made.
func (h *env) made() int {
	n := 0
	for _, e := range h.events(audit.KindRequest) {
		if strings.Contains(e, `"reason":"made"`) {
			n++
		}
	}
	return n
}

func TestAccess_FromDenialToEnd(t *testing.T) {
	h := newAccessEnv(t, nil)
	bob, alice, mallory := h.browser(h.bob), h.browser(h.alice), h.browser(h.mallory)
	denied := bob.open(reports + "/d/1?tab=2&x=%22")
	for _, want := range []string{`action="/.sallyport/request"`, `name="reason"`, `name="policy" value="reports"`, `name="url" value="` + html.EscapeString(`/d/1?tab=2&x=%22`) + `"`, "after 4 hours at the latest"} {
		if denied.StatusCode != http.StatusForbidden || !strings.Contains(denied.body, want) {
			t.Fatalf("the page of the denial (%d) lacks %s: %s", denied.StatusCode, want, denied.body)
		}
	}
	link := h.request(bob, "/d/1?tab=2&x=%22")
	if p := bob.submit(askURL, form("reports", "/d/1", "I am still on call")); requestLink.FindString(p.body) != link || h.made() != 1 {
		t.Errorf("a second submit: %d, %d requests: %s", p.StatusCode, h.made(), p.body)
	}
	if p := bob.open(reports + "/d/2"); !strings.Contains(p.body, `href="`+link+`"`) || strings.Contains(p.body, `name="reason"`) {
		t.Errorf("the page of a denial while a request waits: %s", p.body)
	}
	if e := h.events(audit.KindRequest); strings.Contains(strings.Join(e, ""), "tab=2") {
		t.Errorf("the record holds the query: %s", e)
	}
	if p := alice.open("https://login.example.com/"); !strings.Contains(p.body, ">1</b> request waits for your decision") {
		t.Errorf("the portal of an approver: %s", p.body)
	}
	if p := bob.open("https://login.example.com/"); !strings.Contains(p.body, `href="`+link+`"`) || strings.Contains(p.body, "for your decision") {
		t.Errorf("the portal of who asks: %s", p.body)
	}
	if p := alice.open(requests); p.StatusCode != http.StatusOK || !strings.Contains(p.body, "reports for Bob Roe") {
		t.Errorf("the list of an approver: %d %s", p.StatusCode, p.body)
	}
	seen := alice.open(link)
	for _, want := range []string{"Bob Roe asks for access", "bob@example.com", "I am on call", reports + "/d/1", `value="approve"`, `value="deny"`, `value="4h0m0s"`, "Never on request."} {
		if !strings.Contains(seen.body, want) {
			t.Errorf("the page for an approver lacks %s: %s", want, seen.body)
		}
	}
	mallory.open(link) // before it is decided: the form is stale then

	if p := alice.submit(link, "do=approve&for=30m"); p.StatusCode != http.StatusSeeOther || p.Header.Get("Location") != link {
		t.Fatalf("approving: %d %s", p.StatusCode, p.body)
	}
	if p := bob.open(reports + "/d/1"); p.StatusCode != http.StatusOK {
		t.Errorf("after the approval: %d %s", p.StatusCode, p.body)
	}
	if p := bob.open(link); !strings.Contains(p.body, "Approved") || !strings.Contains(p.body, "by alice@example.com") || !strings.Contains(p.body, "30 minutes left") || !strings.Contains(p.body, `href="`+reports+`/d/1"`) {
		t.Errorf("the page of the request: %s", p.body)
	}
	if p := bob.open("https://login.example.com/"); !strings.Contains(p.body, "30 minutes left") || !strings.Contains(p.body, `href="`+reports+`/"`) {
		t.Errorf("the portal with a grant: %s", p.body)
	}
	for _, stale := range []string{"do=approve&for=4h", "do=deny&why=no"} {
		if p := mallory.submit(link, stale); p.StatusCode != http.StatusConflict || !strings.Contains(p.body, "not open any more") || !strings.Contains(p.body, "by alice@example.com") {
			t.Errorf("a stale form: %d %s", p.StatusCode, p.body)
		}
	}
	if p := alice.open("https://login.example.com/"); strings.Contains(p.body, "for your decision") {
		t.Errorf("the portal of an approver afterwards: %s", p.body)
	}
	if p := bob.submit(link, "do=end"); p.StatusCode != http.StatusSeeOther {
		t.Errorf("ending the access: %d %s", p.StatusCode, p.body)
	}
	if p := bob.open(reports + "/d/1"); p.StatusCode != http.StatusForbidden || !strings.Contains(p.body, `name="reason"`) {
		t.Errorf("after the end: %d %s", p.StatusCode, p.body)
	}
	if p := bob.submit(link, "do=end"); p.StatusCode != http.StatusConflict {
		t.Errorf("ending it again: %d %s", p.StatusCode, p.body)
	}
}

func TestAccess_DenyAndWithdraw(t *testing.T) {
	h := newAccessEnv(t, nil)
	bob, alice := h.browser(h.bob), h.browser(h.alice)
	link := h.request(bob, "/")
	alice.open(link)
	if p := alice.submit(link, form("", "", "")+"&do=deny&why=Ask+for+the+"+url.QueryEscape("<wiki>")); p.StatusCode != http.StatusSeeOther {
		t.Fatalf("%d %s", p.StatusCode, p.body)
	}
	if p := bob.open(link); !strings.Contains(p.body, "Denied") || !strings.Contains(p.body, "Ask for the &lt;wiki&gt;") {
		t.Errorf("%s", p.body)
	}
	link = h.request(bob, "/")
	bob.open(link)
	if p := alice.submit(link, "do=withdraw"); p.StatusCode/100 != 4 || strings.Contains(bob.open(link).body, "Withdrawn") {
		t.Errorf("somebody else withdraws it: %d %s", p.StatusCode, p.body)
	}
	if p := bob.submit(link, "do=withdraw"); p.StatusCode != http.StatusSeeOther {
		t.Errorf("%d %s", p.StatusCode, p.body)
	}
	if p := bob.open(link); !strings.Contains(p.body, "Withdrawn") || strings.Contains(p.body, `value="withdraw"`) {
		t.Errorf("%s", p.body)
	}
	if p := bob.open(reports + "/"); p.StatusCode != http.StatusForbidden {
		t.Errorf("%d", p.StatusCode)
	}
}

func TestAccess_TwoApprovals(t *testing.T) {
	h := newAccessEnv(t, func(q *policy.Requestable) { q.Approvals = 2 })
	bob, alice, mallory := h.browser(h.bob), h.browser(h.alice), h.browser(h.mallory)
	link := h.request(bob, "/")
	alice.open(link)
	mallory.open(link)
	alice.submit(link, "do=approve&for=30m")
	if p := bob.open(reports + "/"); p.StatusCode != http.StatusForbidden {
		t.Errorf("after one of two approvals: %d", p.StatusCode)
	}
	if p := alice.submit(link, "do=approve&for=30m"); p.StatusCode != http.StatusConflict || !strings.Contains(p.body, "1 of 2") {
		t.Errorf("the same person again: %d %s", p.StatusCode, p.body)
	}
	if p := alice.open(link); strings.Contains(p.body, `value="approve"`) || !strings.Contains(p.body, "It waits for somebody else.") {
		t.Errorf("%s", p.body)
	}
	mallory.submit(link, "do=approve&for=1h")
	if p := bob.open(reports + "/"); p.StatusCode != http.StatusOK {
		t.Errorf("after both approvals: %d", p.StatusCode)
	}
}

// TestAccess_ApprovalOfFormerEpoch: an approval by somebody who was suspended since does not count, so they are asked again.
func TestAccess_ApprovalOfFormerEpoch(t *testing.T) {
	h := newAccessEnv(t, func(q *policy.Requestable) { q.Approvals = 2 })
	bob, alice := h.browser(h.bob), h.browser(h.alice)
	link := h.request(bob, "/")
	alice.open(link)
	alice.submit(link, "do=approve&for=30m")
	waits := func(alice *browser) (portal, list, page bool) {
		portal = strings.Contains(alice.open("https://login.example.com/").body, ">1</b> request waits for your decision")
		waiting, _, _ := strings.Cut(alice.open(requests).body, "<h2>Other people's requests")
		list = strings.Contains(waiting, "reports for Bob Roe")
		return portal, list, strings.Contains(alice.open(link).body, `value="approve"`)
	}
	if portal, list, page := waits(alice); portal || list || page {
		t.Errorf("who has approved is asked again: %v, %v, %v", portal, list, page)
	}
	u, _ := h.directory.Lookup(h.alice.OID)
	h.change(func(tx *directory.Tx) error { return tx.Suspend(u.ID, "a test") })
	h.change(func(tx *directory.Tx) error { return tx.Unsuspend(u.ID) })
	alice = h.browser(h.alice)
	alice.open(requests)
	if portal, list, page := waits(alice); !portal || !list || !page {
		t.Errorf("the portal tells of the request: %v; the list: %v; its page has a form: %v", portal, list, page)
	}
	if p := alice.submit(link, "do=approve&for=30m"); p.StatusCode != http.StatusSeeOther && p.StatusCode != http.StatusOK {
		t.Errorf("approving again gives %d %s", p.StatusCode, p.body)
	}
	if portal, list, page := waits(alice); portal || list || page {
		t.Errorf("afterwards, they are asked again: %v, %v, %v", portal, list, page)
	}
}

// TestAccess_BreakGlassIsRecorded has an approver decide in a break-glass session: that is allowed, and the record says so.
func TestAccess_BreakGlassIsRecorded(t *testing.T) {
	h := newAccessEnv(t, nil)
	link := h.request(h.browser(h.bob), "/")
	alice := h.browser(h.alice)
	alice.breakIn("alice@example.com")
	if p := alice.open(link); !strings.Contains(p.body, banner) {
		t.Errorf("the page lacks the banner: %s", p.body)
	}
	if p := alice.submit(link, "do=approve&for=30m"); p.StatusCode != http.StatusSeeOther {
		t.Fatalf("%d %s", p.StatusCode, p.body)
	}
	for _, kind := range []audit.Kind{audit.KindRequest, audit.KindGrant} {
		events := h.events(kind)
		if last := events[len(events)-1]; !strings.Contains(last, `"session":"break-glass"}`) || !strings.Contains(last, `"name":"alice@example.com"`) {
			t.Errorf("the record does not say so: %s", last)
		}
	}
}

// TestAccess_OnlyOnesOwn has people act on requests that are not theirs to see or to decide about: whoever made it, in
// another browser too, and somebody who is nobody to it.
func TestAccess_OnlyOnesOwn(t *testing.T) {
	h := newAccessEnv(t, nil)
	bob, dave := h.browser(h.bob), h.browser(h.addPerson("dave"))
	link := h.request(bob, "/")
	again := h.browser(h.bob)
	for name, g := range map[string]*browser{"same_browser": bob, "second_session": again} {
		g.open(link)
		if p := g.submit(link, "do=approve&for=1h"); p.StatusCode != http.StatusForbidden || !strings.Contains(p.body, "Nobody decides about their own request.") {
			t.Errorf("%s approves their own request: %d %s", name, p.StatusCode, p.body)
		}
		if p := g.open(link); strings.Contains(p.body, `value="approve"`) || !strings.Contains(p.body, "Waiting") {
			t.Errorf("%s: %s", name, p.body)
		}
	}
	unknown := requests + "/0123456789abcdef"
	normal := regexp.MustCompile(`[0-9a-f]{16,}`)
	same := func(a, b page) bool {
		return a.StatusCode == b.StatusCode && normal.ReplaceAllString(a.body, "") == normal.ReplaceAllString(b.body, "")
	}
	if a, b := dave.open(link), dave.open(unknown); a.StatusCode != http.StatusNotFound || !same(a, b) {
		t.Errorf("a request of somebody else is told apart from none: %d %d\n%s\n%s", a.StatusCode, b.StatusCode, a.body, b.body)
	}
	for _, do := range []string{"do=approve&for=1h", "do=deny", "do=withdraw", "do=end", "do=", "do=approve"} {
		if a, b := dave.submit(link, do), dave.submit(unknown, do); a.StatusCode != http.StatusNotFound || !same(a, b) {
			t.Errorf("%s: a request of somebody else is told apart from none: %d %d", do, a.StatusCode, b.StatusCode)
		}
	}
	if p := dave.open(requests); strings.Contains(p.body, "bob") {
		t.Errorf("the list of somebody else: %s", p.body)
	}
	if p := bob.open(reports + "/"); p.StatusCode != http.StatusForbidden {
		t.Errorf("%d", p.StatusCode)
	}
}

// TestAccess_RejectsForms sends forms that are forged, too large, or sent by others: none makes a request.
func TestAccess_RejectsForms(t *testing.T) {
	h := newAccessEnv(t, nil)
	bob := h.browser(h.bob)
	bob.open(reports + "/d/1")
	good := form("reports", "/d/1", "I am on call")
	for name, c := range map[string]struct {
		form   string
		status int
	}{
		"policy_not_offered":         {form("sre", "/d/1", "x"), 403},
		"policy_of_another_route":    {form("reports", "/closed/a", "x"), 403},
		"no_policy":                  {form("", "/d/1", "x"), 403},
		"url_of_another_host":        {form("reports", "https://wiki.example.com/team", "x"), 400},
		"url_of_another_site":        {form("reports", "https://evil.example/", "x"), 400},
		"url_without_scheme":         {form("reports", "//evil.example/", "x"), 400},
		"url_with_backslash":         {form("reports", `/\evil.example/`, "x"), 400},
		"url_of_our_own":             {form("reports", "/.sallyport/me", "x"), 400},
		"url_of_a_script":            {form("reports", "javascript:alert(1)", "x"), 400},
		"url_with_userinfo":          {form("reports", "https://reports.example.com@evil.example/", "x"), 400},
		"url_of_another_scheme":      {form("reports", "http://reports.example.com/d/1", "x"), 400},
		"url_with_dots":              {form("reports", "/d/../closed/a", "x"), 400},
		"url_with_control_character": {form("reports", "/d/\r\nSet-Cookie: a=b", "x"), 400},
		"no_url":                     {form("reports", "", "x"), 400},
		"no_reason":                  {form("reports", "/d/1", ""), 422},
		"blank_reason":               {form("reports", "/d/1", " \t "), 422},
		"long_reason":                {form("reports", "/d/1", strings.Repeat("é", 251)), 422},
		"reason_with_line_break":     {form("reports", "/d/1", "a\r\nb"), 422},
		"reason_with_escape":         {form("reports", "/d/1", "a\x1b[2Jb"), 422},
		"reason_with_nul":            {form("reports", "/d/1", "a\x00b"), 422},
		"reason_in_no_utf8":          {"policy=reports&url=%2Fd%2F1&reason=a%ffb", 422},
		"reason_that_turns_the_text": {form("reports", "/d/1", "a \u202e b"), 422},
		"large_body":                 {form("reports", "/d/1", strings.Repeat("x", 100<<10)), 400},
		"no_form":                    {"%zz", 400},
	} {
		t.Run(name, func(t *testing.T) {
			p := bob.submit(askURL, c.form)
			if p.StatusCode != c.status || strings.Contains(p.body, "evil.example") {
				t.Errorf("%d, want %d: %s", p.StatusCode, c.status, p.body)
			}
			if strings.Contains(p.body, `name="reason"`) != (c.status == 422) {
				t.Errorf("the form is there again, or is not: %s", p.body)
			}
		})
	}
	for name, header := range map[string][]string{
		"another_site":             {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		"another_host_of_ours":     {"Sec-Fetch-Site", "same-site", "Origin", "https://wiki.example.com"},
		"another_site_old_browser": {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
		"sandboxed_frame":          {"Sec-Fetch-Site", "cross-site", "Origin", "null"},
	} {
		t.Run("of_"+name, func(t *testing.T) {
			if p := bob.submit(askURL, good, header...); p.StatusCode != 403 || strings.Contains(p.body, "was sent") {
				t.Errorf("%d %s", p.StatusCode, p.body)
			}
		})
	}
	t.Run("get", func(t *testing.T) {
		if p := bob.ask("GET", askURL+"?"+good, nil); p.StatusCode != 405 || p.Header.Get("Allow") != "POST" {
			t.Errorf("%d %q", p.StatusCode, p.Header.Get("Allow"))
		}
	})
	t.Run("without_session", func(t *testing.T) {
		if p := h.browser(h.bob).submit(askURL, good); p.StatusCode != 401 {
			t.Errorf("%d", p.StatusCode)
		}
	})
	t.Run("with_the_cookie_of_another_host", func(t *testing.T) {
		other := h.browser(h.bob)
		other.open("https://login.example.com/")
		other.plant(reportsHost, sessionCookie, other.cookie(loginHost, sessionCookie))
		if p := other.submit(askURL, good); p.StatusCode != 401 {
			t.Errorf("%d", p.StatusCode)
		}
	})
	t.Run("with_a_token", func(t *testing.T) {
		token := h.tenant.AccessToken(h.bob, audience, nil)
		if p := h.browser(h.bob).submit(askURL, good, "Authorization", "Bearer "+token); p.StatusCode != 401 {
			t.Errorf("%d", p.StatusCode)
		}
	})
	t.Run("of_the_portal_host", func(t *testing.T) {
		bob.open("https://login.example.com/")
		if p := bob.submit("https://login.example.com/.sallyport/request", form("reports", reports+"/d/1", "x")); p.StatusCode != 400 {
			t.Errorf("%d", p.StatusCode)
		}
	})
	t.Run("after_signing_out", func(t *testing.T) {
		other := h.browser(h.bob)
		other.open(reports + "/d/1")
		cookie := other.cookie(reportsHost, sessionCookie)
		other.press(reportsHost, "")
		other.plant(reportsHost, sessionCookie, cookie)
		if p := other.submit(askURL, good); p.StatusCode != 401 {
			t.Errorf("%d", p.StatusCode)
		}
	})
	if n := h.made(); n != 0 {
		t.Errorf("%d requests were made", n)
	}
	t.Run("after_leaving", func(t *testing.T) {
		h.setActive("bob@example.com", false)
		if p := bob.submit(askURL, good); p.StatusCode != 401 && p.StatusCode != 403 || h.made() != 0 {
			t.Errorf("%d", p.StatusCode)
		}
	})
}

// TestAccess_RejectsExpiredSession sends forms until the session has expired: none makes a request then.
func TestAccess_RejectsExpiredSession(t *testing.T) {
	sessions := session.Defaults()
	sessions.Lifetime = 1500 * time.Millisecond
	h := newAccessEnvOf(t, sessions, nil)
	bob := h.browser(h.bob)
	bob.open(reports + "/d/1")
	bad := form("reports", "/closed/a", "x")
	for p := bob.submit(askURL, bad); p.StatusCode != 401; p = bob.submit(askURL, bad) {
		if p.StatusCode != 403 && p.StatusCode != 429 {
			t.Fatalf("%d %s", p.StatusCode, p.body)
		}
	}
	if p := bob.submit(askURL, form("reports", "/d/1", "x"), "Referer", reports+"/d/1"); p.StatusCode != 401 || !strings.Contains(p.body, "return_to=%2Fd%2F1") || h.made() != 0 {
		t.Errorf("%d %s", p.StatusCode, p.body)
	}
}

// TestAccess_ThrottlesForms sends more forms than people do.
func TestAccess_ThrottlesForms(t *testing.T) {
	h := newAccessEnv(t, nil)
	bob := h.browser(h.bob)
	bob.open(reports + "/d/1")
	bad := form("reports", "/closed/a", "x")
	for range 1000 {
		if p := bob.submit(askURL, bad); p.StatusCode == 429 {
			return
		}
	}
	t.Error("a thousand forms were accepted")
}

// TestAccess_IsBounded asks for more than one person may ask for.
func TestAccess_IsBounded(t *testing.T) {
	h := newAccessEnv(t, nil)
	bob := h.browser(h.bob)
	for n := range 20 {
		link := h.request(bob, "/")
		if p := bob.submit(link, "do=withdraw"); p.StatusCode == http.StatusUnauthorized {
			bob.open(link) // gives the host of public_url its cookie
			bob.submit(link, "do=withdraw")
		}
		if p := bob.open(link); !strings.Contains(p.body, "Withdrawn") {
			t.Fatalf("request %d: %s", n, p.body)
		}
	}
	if p := bob.submit(askURL, form("reports", "/", "x")); p.StatusCode != http.StatusTooManyRequests || !strings.Contains(p.body, "made twenty today") || h.made() != 20 {
		t.Errorf("%d, %d requests: %s", p.StatusCode, h.made(), p.body)
	}
}

// TestAccess_RejectsDecisions sends forms of the page of a request in wrong ways: none decides.
func TestAccess_RejectsDecisions(t *testing.T) {
	h := newAccessEnv(t, nil)
	bob, alice := h.browser(h.bob), h.browser(h.alice)
	link := h.request(bob, "/")
	alice.open(link)
	const approve = "do=approve&for=1h"
	for name, header := range map[string][]string{
		"another_site":         {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		"another_host_of_ours": {"Sec-Fetch-Site", "same-site", "Origin", reports},
		"another_site_old":     {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
	} {
		if p := alice.submit(link, approve, header...); p.StatusCode != 403 {
			t.Errorf("%s: %d %s", name, p.StatusCode, p.body)
		}
	}
	for form, want := range map[string]int{
		"do=approve": 422, "do=approve&for=0s": 422, "do=approve&for=-1h": 422, "do=approve&for=5h": 422, "do=approve&for=1s": 422, "do=approve&for=x": 422,
		"do=deny&why=" + strings.Repeat("x", 501): 422, "do=deny&why=a%0ab": 422, "do=erase": 400, "": 400, "do=deny": 422, "do=withdraw": 404, "do=end": 422, "do=end&why=x": 409,
	} {
		if p := alice.submit(link, form); p.StatusCode != want {
			t.Errorf("%.30q: %d, want %d: %s", form, p.StatusCode, want, p.body)
		}
	}
	if p := alice.ask("GET", link+"?"+approve, nil, "Accept", navigate); p.StatusCode != 200 {
		t.Errorf("%d", p.StatusCode)
	}
	if p := alice.ask("PUT", link, strings.NewReader(approve)); p.StatusCode != 405 || !strings.Contains(p.Header.Get("Allow"), "POST") {
		t.Errorf("%d", p.StatusCode)
	}
	if p := alice.submit(requests, approve); p.StatusCode != 405 {
		t.Errorf("%d", p.StatusCode)
	}
	alice.open("https://app.example.com/")
	if p := alice.open(strings.Replace(link, loginHost, appHost, 1)); p.StatusCode != 404 {
		t.Errorf("on the host of an application: %d", p.StatusCode)
	}
	if p := alice.submit(strings.Replace(link, loginHost, appHost, 1), approve); p.StatusCode != 404 {
		t.Errorf("on the host of an application: %d", p.StatusCode)
	}
	if p := h.browser(h.alice).submit(link, approve); p.StatusCode != 401 {
		t.Errorf("without a session: %d", p.StatusCode)
	}
	if p := bob.open(link); !strings.Contains(p.body, "Waiting") {
		t.Errorf("the request was decided: %s", p.body)
	}
	t.Run("sign_in_leads_back", func(t *testing.T) {
		if p := h.browser(h.alice).open(link); p.StatusCode != 200 || !strings.Contains(p.body, `value="approve"`) {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
	t.Run("former_approver", func(t *testing.T) {
		h.removeFromGroup("alice@example.com")
		if p := alice.submit(link, approve); p.StatusCode != 404 {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
}

// TestAccess_WithoutApprovers tells who asks that nobody may approve, and makes no request: the one approver is who asks.
func TestAccess_WithoutApprovers(t *testing.T) {
	h := newAccessEnv(t, nil)
	h.removeFromGroup("alice@example.com")
	mallory := h.browser(h.mallory)
	if p := mallory.open(reports + "/"); p.StatusCode != 403 || !strings.Contains(p.body, "nobody may approve it at the moment") || strings.Contains(p.body, `name="reason"`) {
		t.Errorf("%d %s", p.StatusCode, p.body)
	}
	if p := mallory.submit(askURL, form("reports", "/", "x")); p.StatusCode != 409 || !strings.Contains(p.body, "Nobody may approve it") || h.made() != 0 {
		t.Errorf("%d %s", p.StatusCode, p.body)
	}
}

// TestAccess_OfferedOnlyWhereItHelps looks for the form on pages of denials for other reasons.
func TestAccess_OfferedOnlyWhereItHelps(t *testing.T) {
	h := newAccessEnv(t, func(q *policy.Requestable) {
		q.By = policy.Requesters{Groups: []policy.GroupRef{{ID: "g-sre", Name: "SRE"}}}
	})
	for name, p := range map[string]page{
		"another_route": h.browser(h.alice).open(reports + "/closed/a"),
		"may_not_ask":   h.browser(h.bob).open(reports + "/"),
	} {
		if p.StatusCode != 403 || strings.Contains(p.body, "/.sallyport/request\"") {
			t.Errorf("%s: %d %s", name, p.StatusCode, p.body)
		}
	}
	if p := h.browser(h.alice).open(reports + "/"); p.StatusCode != 403 || !strings.Contains(p.body, "/.sallyport/request\"") {
		t.Errorf("%d %s", p.StatusCode, p.body)
	}
	if p := h.browser(h.bob); p.open(reports+"/").StatusCode != 403 || p.submit(askURL, form("reports", "/", "x")).StatusCode != 403 || h.made() != 0 {
		t.Error("somebody asked who may not")
	}
	t.Run("program", func(t *testing.T) {
		token := h.tenant.AccessToken(h.alice, audience, nil)
		if p := h.browser(h.alice).ask("GET", reports+"/", nil, "Authorization", "Bearer "+token, "Accept", navigate); p.StatusCode != 403 || strings.Contains(p.body, "/.sallyport/request\"") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
}
