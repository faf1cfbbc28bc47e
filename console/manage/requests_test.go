package manage_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/grant"
)

// ask makes a request for access to payroll.
func (e *env) ask(userName, reason string) grant.Request {
	e.t.Helper()
	u := e.user(userName)
	return must[grant.Request](e.t)(e.admin.Ask(e.t.Context(), admin.Person(u, "192.0.2.1"), admin.Asking{User: u, Route: "payroll", Policy: "payroll",
		URL: "https://payroll.example.com/march", Reason: reason}))
}

// state returns the state of a request.
func (e *env) state(id string) grant.State {
	e.t.Helper()
	return must[admin.RequestView](e.t)(e.admin.Request(e.t.Context(), admin.System("test"), id)).State
}

func TestRequests_AreApprovedAndDenied(t *testing.T) {
	e := newEnv(t)
	carol, otto := e.ask("carol@example.com", "the <b>March</b> run"), e.ask("otto@example.com", "an audit")
	list := e.page(e.ada, "/requests").Body.String()
	for _, want := range []string{"Carol Quinn", "the &lt;b&gt;March&lt;/b&gt; run", "/requests/" + carol.ID, "/requests/" + otto.ID, "0 / 1", `<span class="badge">2</span>`} {
		if !strings.Contains(list, want) {
			t.Errorf("the list lacks %s", want)
		}
	}
	page := e.page(e.ada, "/requests/"+carol.ID).Body.String()
	for _, want := range []string{"https://payroll.example.com/march", "ada@example.com", "bob@example.com", `value="4h"`, `value="1h" selected`, "nobody"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	open := func() {
		t.Helper()
		if e.state(carol.ID) != grant.StateOpen {
			t.Errorf("the request is %s", e.state(carol.ID))
		}
	}
	e.isRefused("/requests/"+carol.ID+"/approve", url.Values{"for": {"1h"}}, open)
	e.isRefused("/requests/"+carol.ID+"/deny", url.Values{"why": {"x"}}, open)
	for name, c := range map[string]struct {
		action string
		form   url.Values
	}{
		"too_long": {"approve", url.Values{"for": {"5h"}}}, "no_time": {"approve", nil}, "negative": {"approve", url.Values{"for": {"-1h"}}}, "short": {"approve", url.Values{"for": {"1s"}}},
		"two_lines": {"approve", url.Values{"for": {"1h"}, "why": {"a\nb"}}}, "no_reason": {"deny", nil}, "long_reason": {"deny", url.Values{"why": {strings.Repeat("x", 501)}}},
	} {
		if res := e.post(e.ada, "/requests/"+carol.ID+"/"+c.action, c.form); res.Code != http.StatusUnprocessableEntity || !strings.Contains(res.Body.String(), "Nothing was changed") {
			t.Errorf("%s: %d", name, res.Code)
		}
		open()
	}
	if to := e.done(e.ada, "/requests/"+carol.ID+"/approve", url.Values{"for": {"2h"}, "why": {"for the March run"}}); to != "/requests/"+carol.ID+"?done=approved" {
		t.Errorf("it leads to %s", to)
	}
	e.done(e.ada, "/requests/"+otto.ID+"/deny", url.Values{"why": {"ask the owner"}})
	if res := e.post(e.ada, "/requests/"+otto.ID+"/approve", url.Values{"for": {"1h"}}); res.Code != http.StatusConflict || e.state(otto.ID) != grant.StateDenied {
		t.Errorf("a request that was denied is approved: %d", res.Code)
	}
	decided := e.page(e.otto, "/requests/decided").Body.String()
	if !strings.Contains(decided, "ask the owner") || !strings.Contains(decided, "for the March run") {
		t.Error("what was decided is not listed with its words")
	}
	if body := e.page(e.otto, "/requests/decided?text=CAROL").Body.String(); strings.Contains(body, "ask the owner") || !strings.Contains(body, "Carol") {
		t.Error("the filter of what was decided does not filter")
	}
	for _, event := range e.events(audit.KindGrant) {
		if event.Actor.ID != e.ada.User.ID || event.Actor.Role != audit.RoleAdmin {
			t.Errorf("the record has %+v", event)
		}
	}
	if res := e.get(e.ada, "/requests/none"); res.Code != http.StatusNotFound {
		t.Errorf("no such request: %d", res.Code)
	}
}

// TestRequests_NeverTheirOwn: an administrator decides neither about their own request nor about that of their other account.
func TestRequests_NeverTheirOwn(t *testing.T) {
	e := newEnv(t)
	e.push("POST", "/Users", `{`+userSchema+`,"userName":"ada-second@example.com","active":true,"emails":[{"value":"ada@example.com","primary":true}]}`, http.StatusCreated)
	for _, r := range []grant.Request{e.ask("ada@example.com", "x"), e.ask("ada-second@example.com", "x")} {
		for action, form := range map[string]url.Values{"approve": {"for": {"1h"}}, "deny": {"why": {"x"}}} {
			if res := e.post(e.ada, "/requests/"+r.ID+"/"+action, form); res.Code != http.StatusForbidden || e.state(r.ID) != grant.StateOpen {
				t.Errorf("%s of %s: %d, %s", action, r.Person.UserName, res.Code, e.state(r.ID))
			}
		}
		if body := e.page(e.ada, "/requests/"+r.ID).Body.String(); strings.Contains(body, `method="post"`) {
			t.Errorf("there is a form to decide about the request of %s", r.Person.UserName)
		}
	}
}

func TestGrants_AreListedAndRevoked(t *testing.T) {
	e := newEnv(t)
	carol := e.ask("carol@example.com", "x")
	e.done(e.ada, "/requests/"+carol.ID+"/approve", url.Values{"for": {"2h"}})
	list := e.page(e.ada, "/requests/grants").Body.String()
	m := regexp.MustCompile(`/requests/grants/([0-9a-f]+)`).FindStringSubmatch(list)
	if m == nil || !strings.Contains(list, "119 min") && !strings.Contains(list, "120 min") && !strings.Contains(list, "2 h") && !strings.Contains(list, "1 h") {
		t.Fatalf("the list has no grant with the time left: %s", list)
	}
	path := "/requests/grants/" + m[1]
	if body := e.page(e.otto, path).Body.String(); strings.Contains(body, `method="post"`) || !strings.Contains(body, "carol@example.com") {
		t.Error("an auditor may end it, or does not see it")
	}
	running := func() {
		t.Helper()
		if grants := must[[]admin.Grant](t)(e.admin.Grants(t.Context(), admin.System("test"), false)); len(grants) != 1 {
			t.Errorf("the grants are %+v", grants)
		}
	}
	e.isRefused(path+"/revoke", url.Values{"why": {"x"}}, running)
	if res := e.post(e.ada, path+"/revoke", nil); res.Code != http.StatusUnprocessableEntity {
		t.Errorf("without a reason: %d", res.Code)
	}
	running()
	e.done(e.ada, path+"/revoke", url.Values{"why": {"the run is done"}})
	if grants := must[[]admin.Grant](t)(e.admin.Grants(t.Context(), admin.System("test"), false)); len(grants) != 0 {
		t.Errorf("the grants are %+v", grants)
	}
	if res := e.post(e.ada, path+"/revoke", url.Values{"why": {"again"}}); res.Code != http.StatusConflict {
		t.Errorf("again: %d", res.Code)
	}
	if body := e.page(e.ada, path).Body.String(); !strings.Contains(body, "the run is done") || strings.Contains(body, "End it now") {
		t.Error("the page does not say that it was ended")
	}
	if body := e.page(e.ada, "/requests/grants").Body.String(); strings.Contains(body, m[1]) {
		t.Error("a grant that has ended runs")
	}
	if body := e.page(e.ada, "/requests/grants?all=yes").Body.String(); !strings.Contains(body, m[1]) {
		t.Error("a grant that has ended is not listed")
	}
	if res := e.get(e.ada, "/requests/grants/none"); res.Code != http.StatusNotFound {
		t.Errorf("no such grant: %d", res.Code)
	}
}
