package manage_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/directory"
	"sallyport/policy"
	"sallyport/proxy"
)

// shows fails the test unless a page has each of texts.
func (res *response) shows(t testing.TB, texts ...string) {
	t.Helper()
	for _, want := range texts {
		if !strings.Contains(res.Body.String(), want) {
			t.Errorf("%s does not show %q", res.path, want)
		}
	}
}

// hides fails the test if a page has one of texts.
func (res *response) hides(t testing.TB, texts ...string) {
	t.Helper()
	for _, other := range texts {
		if strings.Contains(res.Body.String(), other) {
			t.Errorf("%s shows %q", res.path, other)
		}
	}
}

func TestPeople_AreFoundByName(t *testing.T) {
	e := newEnv(t)
	e.page(e.otto, "/people").shows(t, "Ada Lovelace", "Bob Roe", "Carol Quinn", "1 to 4 of 4")
	found := e.page(e.ada, "/people?q=LOVE")
	found.shows(t, "Ada Lovelace", "1 to 1 of 1", `value="LOVE"`)
	found.hides(t, "Bob Roe")
	e.page(e.ada, "/people?q=nobody").shows(t, "Nobody is found")
	e.page(e.ada, "/people?q="+url.QueryEscape(`"><script>alert(1)</script>`)).hides(t, "<script>alert")
	e.page(e.ada, "/people?state=gone").shows(t, "This filter cannot be read: state")
	for _, page := range []string{"0", "-1", "x", "99999999999999999999", "1000"} {
		e.page(e.ada, "/people?page="+page)
	}
	if res := e.get(e.ada, "/people?q=bob&format=csv"); !strings.HasPrefix(res.Body.String(), "displayName,userName,state,groups,changed,externalId,id\nBob Roe,bob@example.com,active,1,") {
		t.Errorf("as CSV: %s", res.Body)
	}
	if _, err := e.admin.Suspend(t.Context(), admin.Operator("root", "socket"), "bob@example.com", "laptop stolen"); err != nil {
		t.Fatal(err)
	}
	suspended := e.page(e.ada, "/people?state=suspended")
	suspended.shows(t, "Bob Roe")
	suspended.hides(t, "Carol Quinn")
	e.page(e.ada, "/people?state=active").hides(t, "Bob Roe")
}

func TestPeople_ListIsBounded(t *testing.T) {
	e := newEnv(t)
	e.change(func(tx *directory.Tx) error {
		for i := range 250 {
			u := &directory.User{UserName: fmt.Sprintf("user%03d", i), Active: true, ExternalID: strings.Repeat("x", 200) + fmt.Sprint(i)}
			if err := tx.PutUser(u); err != nil {
				return err
			}
		}
		return nil
	})
	first := e.page(e.ada, "/people?q=user")
	first.shows(t, "1 to 100 of 250", "page=2", "user099")
	first.hides(t, "user100")
	last := e.page(e.ada, "/people?q=user&page=3")
	last.shows(t, "201 to 250 of 250", "user249")
	last.hides(t, `rel="next"`)
}

// Whatever the identity provider pushes, a page does not grow beyond what [response.check] lets it.
func TestPages_StaySmall(t *testing.T) {
	e := newEnv(t)
	var groups []policy.GroupRef
	for i := range 60 {
		groups = append(groups, policy.GroupRef{ID: strings.Repeat("g", 100) + fmt.Sprint(i)})
	}
	for range 150 {
		e.settings.Policies[0].Rules = append(e.settings.Policies[0].Rules, policy.Rule{Allow: &policy.Match{Groups: groups}})
	}
	for i := range 600 {
		e.settings.Routes = append(e.settings.Routes, proxy.Route{Name: fmt.Sprint("route", i), Host: fmt.Sprintf("%d.example.com", i), Upstream: proxy.Upstreams{"http://127.0.0.1:1"}, Policy: []string{"payroll"}})
	}
	long, group := strings.Repeat("Ā", 600), ""
	var ids []string
	e.change(func(tx *directory.Tx) error {
		ids = nil
		g := &directory.Group{DisplayName: "all " + long, ExternalID: "all"}
		if err := tx.PutGroup(g); err != nil {
			return err
		}
		group = g.ID
		for i := range 250 {
			document := map[string]any{"displayName": fmt.Sprint(long, i), "nickName": long}
			if i == 0 {
				for n := range 300 {
					document[fmt.Sprint("attribute", n)] = strings.Repeat("<", 1000)
				}
				var roles []map[string]string
				for n := range 1000 {
					roles = append(roles, map[string]string{"value": fmt.Sprint(n, long)})
				}
				document["roles"] = roles
			}
			text, _ := json.Marshal(document)
			u := &directory.User{UserName: fmt.Sprint(i, long), Active: true, ExternalID: long + fmt.Sprint(i), Document: text}
			if err := tx.PutUser(u); err != nil {
				return err
			}
			ids = append(ids, u.ID)
		}
		for i := range 250 {
			other := &directory.Group{DisplayName: fmt.Sprint(long, i), ExternalID: fmt.Sprint(i)}
			if err := tx.PutGroup(other); err != nil {
				return err
			}
			if _, err := tx.AddMembers(other.ID, ids[:1]); err != nil {
				return err
			}
		}
		_, err := tx.AddMembers(group, ids)
		return err
	})
	for _, path := range []string{"/people", "/groups", "/people/" + ids[0], "/people/" + ids[0] + "/history", "/people/" + ids[0] + "/record", "/groups/" + group, "/groups/" + group + "/history",
		"/groups/" + group + "/record", "/why", "/search?q=" + url.QueryEscape("ā"), "/why?route=wiki&user=" + ids[0]} {
		e.page(e.ada, path)
	}
}

func TestPerson_ShowsEverything(t *testing.T) {
	e := newEnv(t)
	bob := e.user("bob@example.com")
	e.viewer("bob@example.com", false) // a session
	page := e.page(e.ada, "/people/"+bob.ID)
	page.shows(t, "Bob Roe", "ext-bob", "/routes/wiki", "sre[0]", "sre[1]", "SRE", address, "End all sessions", "/suspend", "Remove this person", "user="+bob.ID)
	look := e.page(e.otto, "/people/"+bob.ID)
	look.shows(t, "Bob Roe", "sre[0]")
	look.hides(t, "<button class=\"button danger", "End all sessions")
	var facts admin.UserFacts
	if err := json.Unmarshal(e.get(e.ada, "/people/"+bob.ID+"?format=json").Body.Bytes(), &facts); err != nil || facts.ID != bob.ID || len(facts.Routes) != 1 || len(facts.Sessions) != 1 {
		t.Errorf("as JSON: %+v, %v", facts, err)
	}
	e.page(e.otto, "/people/"+bob.ID+"/record").shows(t, "&#34;displayName&#34;: &#34;Bob Roe&#34;")
	if res := e.get(e.otto, "/people/"+bob.ID+"/record?format=json"); !json.Valid(res.Body.Bytes()) || !strings.Contains(res.Body.String(), "Bob Roe") {
		t.Errorf("the record as JSON: %s", res.Body)
	}
	for _, path := range []string{"/people/nobody", "/people/" + strings.Repeat("0", 32), "/people/nobody/history", "/people/nobody/record", "/people/" + strings.Repeat("0", 32) + "/history"} {
		if res := e.get(e.ada, path); res.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, res.Code)
		}
	}
}

func TestPerson_SuspendAndUnsuspend(t *testing.T) {
	e := newEnv(t)
	bob := e.user("bob@example.com")
	e.viewer("bob@example.com", false)
	path, form := "/people/"+bob.ID+"/suspend", url.Values{"reason": {"laptop stolen"}}
	state := func() string { u, _ := e.directory.ByID(bob.ID); return u.Barred() }
	e.isRefused(path, form, func() {
		if state() != "" {
			t.Error("bob is suspended")
		}
	})
	if res := e.post(e.ada, path, url.Values{"reason": {" "}}); res.Code != http.StatusUnprocessableEntity || state() != "" {
		t.Errorf("without a reason: %d, %s", res.Code, state())
	}
	e.page(e.ada, e.done(e.ada, path, form)).shows(t, "Sessions have ended, and live requests are cut", "laptop stolen", "End the suspension", "signed in nowhere")
	events := e.events(audit.KindSuspend)
	if last := events[len(events)-1]; state() != "suspended" || last.Actor.Role != audit.RoleAdmin || last.Actor.Name != "ada@example.com" || last.Detail["why"] != "laptop stolen" {
		t.Errorf("bob is %q, by %+v", state(), last)
	}
	path = "/people/" + bob.ID + "/unsuspend"
	e.isRefused(path, nil, func() {
		if state() != "suspended" {
			t.Error("bob is no longer suspended")
		}
	})
	e.page(e.ada, e.done(e.ada, path, nil)).shows(t, "The suspension has ended")
	if res := e.post(e.ada, path, nil); res.Code < 400 {
		t.Errorf("ending a suspension that there is not: %d", res.Code)
	}
}

// A second account of an administrator stays suspended until somebody else says otherwise.
func TestPerson_UnsuspendsNotThemselves(t *testing.T) {
	e := newEnv(t)
	id := e.push("POST", "/Users", `{"userName":"ada.two@example.com","externalId":"two","active":true,"emails":[{"value":"ada@example.com"}]}`, http.StatusCreated)
	e.done(e.ada, "/people/"+id+"/suspend", url.Values{"reason": {"test"}})
	if res := e.post(e.ada, "/people/"+id+"/unsuspend", nil); res.Code != http.StatusForbidden || !strings.Contains(res.Body.String(), "Nobody ends their own suspension") {
		t.Errorf("ending one's own suspension: %d", res.Code)
	}
}

// TestPerson_RemovesNotThemselves: an account that is removed comes back with the next push, without the memberships that
// reviews revoked.
func TestPerson_RemovesNotThemselves(t *testing.T) {
	e := newEnv(t)
	second := e.push("POST", "/Users", `{"userName":"ada.two@example.com","externalId":"two","active":true,"emails":[{"value":"ada@example.com"}]}`, http.StatusCreated)
	for id, name := range map[string]string{second: "ada.two@example.com", e.ada.User.ID: "ada@example.com"} {
		res := e.post(e.ada, "/people/"+id+"/remove", url.Values{"name": {name}})
		if _, there := e.directory.ByID(id); res.Code != http.StatusForbidden || !there || !strings.Contains(res.Body.String(), "Nobody removes their own account") {
			t.Errorf("%s: %d, and the account is there: %v", name, res.Code, there)
		}
	}
}

func TestPerson_UnsuspendsDeleted(t *testing.T) {
	e := newEnv(t)
	id := e.push("POST", "/Users", `{"userName":"eve@example.com","externalId":"e","active":true}`, http.StatusCreated)
	e.done(e.ada, "/people/"+id+"/suspend", url.Values{"reason": {"laptop stolen"}})
	e.push("DELETE", "/Users/"+id, "", http.StatusNoContent)
	e.page(e.otto, "/people?state=suspended").shows(t, "eve@example.com", "laptop stolen")
	e.page(e.ada, "/people?state=suspended").shows(t, "/people/"+id+"/unsuspend")
	e.page(e.ada, e.done(e.ada, "/people/"+id+"/unsuspend", nil)).hides(t, "eve@example.com")
	e.page(e.ada, "/people/"+id+"/history").shows(t, "This record is deleted", "Deleted")
}

func TestPerson_EndSessions(t *testing.T) {
	e := newEnv(t)
	bob := e.user("bob@example.com")
	one, two, three := e.viewer("bob@example.com", false), e.viewer("bob@example.com", false), e.viewer("bob@example.com", false)
	valid := func() int {
		return len(must[[]admin.Session](t)(e.admin.SessionsOf(t.Context(), admin.Operator("root", "socket"), bob.ID)))
	}
	path := "/people/" + bob.ID + "/sessions"
	e.isRefused(path, nil, func() {
		if valid() != 3 {
			t.Error("a session has ended")
		}
	})
	if res := e.post(e.ada, path, url.Values{"session": {e.otto.Session.ID}}); res.Code != http.StatusConflict || valid() != 3 {
		t.Errorf("ending a session of somebody else: %d", res.Code)
	}
	e.page(e.ada, e.done(e.ada, path, url.Values{"session": {one.Session.ID}})).shows(t, "The session has ended", two.Session.ID, three.Session.ID)
	if valid() != 2 {
		t.Errorf("%d sessions are left", valid())
	}
	e.page(e.ada, e.done(e.ada, path, nil)).shows(t, "All sessions have ended")
	if valid() != 0 {
		t.Errorf("%d sessions are left", valid())
	}
	if _, err := e.sessions.Live(e.otto.Session.ID); err != nil {
		t.Errorf("the session of somebody else: %v", err)
	}
}

func TestPerson_Remove(t *testing.T) {
	e := newEnv(t)
	bob := e.user("bob@example.com")
	path := "/people/" + bob.ID + "/remove"
	isThere := func() bool { _, ok := e.directory.ByID(bob.ID); return ok }
	e.isRefused(path, url.Values{"name": {"bob@example.com"}}, func() {
		if !isThere() {
			t.Error("bob is removed")
		}
	})
	if res := e.post(e.ada, path, url.Values{"name": {"carol@example.com"}}); res.Code != http.StatusUnprocessableEntity || !isThere() {
		t.Errorf("with another name: %d", res.Code)
	}
	e.page(e.ada, e.done(e.ada, path, url.Values{"name": {" bob@example.com "}})).shows(t, "Removed.")
	if isThere() {
		t.Error("bob is not removed")
	}
}

func TestPeople_RemoveStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		id := e.push("POST", "/Users", `{"userName":"gone@example.com","externalId":"g","active":false}`, http.StatusCreated)
		e.page(e.ada, "/people?state=stale").shows(t, "Nobody is found")
		time.Sleep(admin.StaleAfter + time.Hour)
		e.ada, e.otto = e.viewer("ada@example.com", true), e.viewer("otto@example.com", false)
		e.page(e.ada, "/people?state=stale").shows(t, "gone@example.com", `value="`+id+`"`, "/people/remove")
		e.page(e.otto, "/people?state=stale").hides(t, "/people/remove")
		e.isRefused("/people/remove", url.Values{"id": {id}}, func() {
			if _, ok := e.directory.ByID(id); !ok {
				t.Error("somebody is removed")
			}
		})
		for _, ids := range [][]string{nil, {id, e.user("carol@example.com").ID}} {
			if res := e.post(e.ada, "/people/remove", url.Values{"id": ids}); res.Code < 400 {
				t.Errorf("removing %v: %d", ids, res.Code)
			}
		}
		e.page(e.ada, e.done(e.ada, "/people/remove", url.Values{"id": {id}})).shows(t, "Removed.", "Nobody is found")
		e.page(e.ada, "/groups?state=stale").shows(t, "No group is found")
		group := e.push("POST", "/Groups", `{"displayName":"Old project","externalId":"old"}`, http.StatusCreated)
		time.Sleep(admin.StaleAfter + time.Hour)
		e.ada, e.otto = e.viewer("ada@example.com", true), e.viewer("otto@example.com", false)
		e.page(e.ada, "/groups?state=stale").shows(t, "Old project", "/groups/remove")
		e.isRefused("/groups/remove", url.Values{"id": {group}}, func() {
			if _, ok := e.directory.GroupByID(group); !ok {
				t.Error("a group is removed")
			}
		})
		e.page(e.ada, e.done(e.ada, "/groups/remove", url.Values{"id": {group}})).shows(t, "The group is removed")
	})
}

func TestHistory_NamesThePush(t *testing.T) {
	e := newEnv(t)
	id := e.push("POST", "/Users", `{"userName":"eve@example.com","externalId":"e","active":true,"displayName":"Eve","title":"<b>Engineer</b>"}`, http.StatusCreated)
	e.push("PATCH", "/Users/"+id, `{"Operations":[{"op":"replace","path":"title","value":"Lead"}]}`, http.StatusOK)
	e.done(e.ada, "/people/"+id+"/suspend", url.Values{"reason": {"laptop stolen"}})
	page := e.page(e.otto, "/people/"+id+"/history")
	page.shows(t, "by the provisioning token", "entra", "with a PATCH", "<del>&lt;b&gt;Engineer&lt;/b&gt;</del>", "<ins>Lead</ins>", "by the administrator", "laptop stolen", "Created")
	if res := e.get(e.otto, "/people/"+id+"/history?format=csv"); !strings.Contains(res.Body.String(), "token entra,") {
		t.Errorf("as CSV: %s", res.Body)
	}
	e.get(e.otto, "/people/"+id+"/history?before=x")
}

func TestGroups_AreFoundAndShown(t *testing.T) {
	e := newEnv(t)
	e.page(e.otto, "/groups").shows(t, "SRE", "Payroll", "1 to 2 of 2", "named by a rule")
	e.page(e.otto, "/groups?q=PAY").hides(t, "SRE</a>")
	sre := must[admin.Group](t)(e.admin.Group(t.Context(), e.actor(), "SRE"))
	page := e.page(e.ada, "/groups/"+sre.ID)
	page.shows(t, "Ada Lovelace", "Bob Roe", "/routes/wiki", "sre[0]", "has its members decide about requests", "/routes/payroll")
	page.hides(t, "Carol Quinn", "Remove this group")
	e.page(e.ada, "/groups/"+sre.ID+"?q=bob").hides(t, "Ada Lovelace</a>")
	e.page(e.otto, "/groups/"+sre.ID+"/history").shows(t, "Joined", "Bob Roe")
	e.page(e.otto, "/groups/"+sre.ID+"/record")
	if res := e.post(e.ada, "/groups/"+sre.ID+"/remove", url.Values{"name": {"SRE"}}); res.Code != http.StatusConflict || !strings.Contains(res.Body.String(), "A rule names this group") {
		t.Errorf("removing a group that a rule names: %d", res.Code)
	}
	id := e.push("POST", "/Groups", `{"displayName":"Old","externalId":"old"}`, http.StatusCreated)
	e.page(e.ada, "/groups/"+id).shows(t, "Remove this group", "No rule of a route names this group")
	e.isRefused("/groups/"+id+"/remove", url.Values{"name": {"Old"}}, func() {
		if _, ok := e.directory.GroupByID(id); !ok {
			t.Error("the group is removed")
		}
	})
	if res := e.post(e.ada, "/groups/"+id+"/remove", url.Values{"name": {"Other"}}); res.Code != http.StatusUnprocessableEntity {
		t.Errorf("with another name: %d", res.Code)
	}
	e.page(e.ada, e.done(e.ada, "/groups/"+id+"/remove", url.Values{"name": {"Old"}})).shows(t, "The group is removed")
	if res := e.get(e.ada, "/groups/"+id); res.Code != http.StatusNotFound {
		t.Errorf("the page of a group that is removed: %d", res.Code)
	}
}

// actor is an operator of the system.
func (e *env) actor() admin.Actor { return admin.Operator("root", "socket") }

func TestWhyNot_ExplainsPersonAndRoute(t *testing.T) {
	e := newEnv(t)
	e.page(e.otto, "/routes/wiki").shows(t, `action="/.sallyport/console/why"`, `name="route" value="wiki"`)
	e.page(e.otto, "/why").shows(t, `name="user"`, ">wiki<", ">payroll<")
	bob, carol := e.user("bob@example.com"), e.user("carol@example.com")
	e.page(e.otto, "/why?user="+bob.ID+"&route=wiki").shows(t, "Allowed.", "A rule lets them in", "sre[0]", "Bob Roe", "https://wiki.example.com/")
	e.page(e.otto, "/why?user=carol@example.com&route=wiki").shows(t, "Denied.", "No rule lets them in", "What would change that:", "SRE", "2 members", "/people/"+carol.ID)
	e.page(e.otto, "/why?user=bob@example.com&url=https://wiki.example.com/x&method=delete").shows(t, "Denied.", "A rule keeps them out", "DELETE https://wiki.example.com/x")
	for query, want := range map[string]string{"user=bob&route=wiki": "Do you mean one of these?", "user=bob@example.com&url=https://nowhere.example.com/": "no route has this host",
		"user=bob@example.com&route=wiki&from=x": "is no address", "user=nobody&route=wiki": "Nobody, or more than one person, is called nobody"} {
		res := e.get(e.otto, "/why?"+query)
		res.check(t, false)
		if res.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", query, res.Code)
		}
		res.shows(t, want)
	}
	var body struct{ Explanation struct{ Reason string } }
	if err := json.Unmarshal(e.get(e.otto, "/why?user="+carol.ID+"&route=wiki&format=json").Body.Bytes(), &body); err != nil || body.Explanation.Reason != "no_rule" {
		t.Errorf("as JSON: %+v, %v", body, err)
	}
	if _, err := e.admin.Suspend(t.Context(), e.actor(), bob.ID, "laptop stolen"); err != nil {
		t.Fatal(err)
	}
	e.page(e.otto, "/why?user="+bob.ID+"&route=wiki").shows(t, "Denied.", "The person is suspended.")
}

func TestSearch_FindsEverything(t *testing.T) {
	e := newEnv(t)
	hits := func(text string) (list []string) {
		t.Helper()
		var body struct {
			Hits []struct{ Kind, Title, Path string }
		}
		res := e.get(e.otto, "/search?format=json&q="+url.QueryEscape(text))
		if err := json.Unmarshal(res.Body.Bytes(), &body); err != nil {
			t.Fatalf("%s: %v", res.Body, err)
		}
		for _, h := range body.Hits {
			list = append(list, h.Kind+" "+h.Title+" "+strings.TrimPrefix(h.Path, "/.sallyport/console"))
		}
		return list
	}
	for text, want := range map[string]string{"LOVELACE": "user Ada Lovelace /people/" + e.user("ada@example.com").ID, "wiki": "route wiki /routes/wiki", "peop": "page People /people",
		strings.Repeat("ab", 16): "decision Request abababab…, as it was decided /decisions/" + strings.Repeat("ab", 16)} {
		if got := hits(text); len(got) != 1 || got[0] != want {
			t.Errorf("%q finds %q, want %q", text, got, want)
		}
	}
	if got := hits("roll"); len(got) != 2 || !strings.HasPrefix(got[0], "group Payroll /groups/") || got[1] != "route payroll /routes/payroll" {
		t.Errorf("roll finds %q", got)
	}
	if got := hits(""); len(got) < 3 || !strings.HasPrefix(got[0], "page ") {
		t.Errorf("without a text, the pages are %q", got)
	}
	e.page(e.otto, "/search?q=lovelace").shows(t, "Ada Lovelace", `value="lovelace"`)
	e.page(e.otto, "/search?q="+url.QueryEscape("<script>")).shows(t, "Nothing is found for &lt;script&gt;.")
	e.page(e.otto, "/search")
}
