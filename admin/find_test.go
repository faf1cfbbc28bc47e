package admin_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/access"
	"sallyport/admin"
	"sallyport/audit"
	"sallyport/directory"
	"sallyport/policy"
)

// createGroup pushes a group with members, and returns its id.
func (w *world) createGroup(name, external string, members ...string) (id string) {
	w.t.Helper()
	var list []string
	for _, m := range members {
		list = append(list, fmt.Sprintf(`{"value":%q}`, m))
	}
	return w.push("POST", "/Groups", fmt.Sprintf(`{"displayName":%q,"externalId":%q,"members":[%s]}`, name, external, strings.Join(list, ",")), http.StatusCreated)
}

func TestFindUsers_ByNameAndState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		gone := w.createUser("gone@example.com")
		w.deactivate(gone, http.StatusOK)
		time.Sleep(admin.StaleAfter + time.Hour)
		late, held := w.createUser("late@example.com"), w.createUser("held@example.com")
		w.deactivate(late, http.StatusOK)
		w.createUser("eve@example.com")
		w.createGroup("Team", "team", gone, held)
		if _, err := w.Suspend(t.Context(), ada, held, "laptop stolen"); err != nil {
			t.Fatal(err)
		}
		team, err := w.Group(t.Context(), ada, "team")
		must(t, err)
		for name, check := range map[string]struct {
			query admin.UserQuery
			want  string
			total int
		}{
			"all":        {admin.UserQuery{}, "eve gone held late", 4},
			"active":     {admin.UserQuery{State: admin.UserActive}, "eve", 1},
			"inactive":   {admin.UserQuery{State: admin.UserInactive}, "gone late", 2},
			"suspended":  {admin.UserQuery{State: admin.UserSuspended}, "held", 1},
			"stale":      {admin.UserQuery{State: admin.UserStale}, "gone", 1},
			"damaged":    {admin.UserQuery{State: admin.UserDamaged}, "", 0},
			"name":       {admin.UserQuery{Text: "LATE"}, "late", 1},
			"name_state": {admin.UserQuery{Text: "e", State: admin.UserInactive}, "gone late", 2},
			"group":      {admin.UserQuery{Group: team.ID}, "gone held", 2},
			"second":     {admin.UserQuery{From: 1, Limit: 2}, "gone held", 4},
			"behind":     {admin.UserQuery{From: 9, Limit: 2}, "", 4},
			"negative":   {admin.UserQuery{From: -3, Limit: -1}, "eve gone held late", 4},
		} {
			found, err := w.FindUsers(t.Context(), ada, check.query)
			must(t, err)
			var names []string
			for _, u := range found.Users {
				names = append(names, strings.TrimSuffix(u.UserName, "@example.com"))
			}
			if got := strings.Join(names, " "); got != check.want || found.Total != check.total {
				t.Errorf("%s: found %q, %d in all; want %q, %d", name, got, found.Total, check.want, check.total)
			}
		}
		found, err := w.FindUsers(t.Context(), ada, admin.UserQuery{State: admin.UserStale})
		must(t, err)
		if s := found.States; found.Any != 4 || s[admin.UserActive] != 1 || s[admin.UserInactive] != 2 || s[admin.UserSuspended] != 1 || s[admin.UserStale] != 1 {
			t.Errorf("of %d, the states are %v", found.Any, s)
		}
		if u := found.Users[0]; !u.Stale || u.Groups != 1 || u.Active {
			t.Errorf("the stale user is %+v", u)
		}
		if _, err := w.FindUsers(t.Context(), ada, admin.UserQuery{State: "gone"}); err == nil || !strings.Contains(err.Error(), "write one of active, inactive") {
			t.Errorf("a state that there is not: %v", err)
		}
	})
}

func TestSuspendedDeleted_AreFound(t *testing.T) {
	w := newWorld(t)
	id := w.createUser("eve@example.com")
	_, err := w.Suspend(t.Context(), ada, id, "laptop stolen")
	must(t, err)
	w.push("DELETE", "/Users/"+id, "", http.StatusNoContent)
	for text, want := range map[string]int{"": 1, "EVE": 1, id: 1, "bob": 0} {
		if found, err := w.SuspendedDeleted(t.Context(), ada, text); err != nil || len(found) != want {
			t.Errorf("%q finds %v, %v; want %d", text, found, err, want)
		}
	}
}

func TestFindGroups_ByNameAndState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies = sre()
		w.createGroup("Site Reliability", "sre")
		w.createGroup("Leads", "leads")
		w.createGroup("Old project", "old")
		time.Sleep(admin.StaleAfter + time.Hour)
		w.createGroup("Full", "full", w.createUser("eve@example.com"))
		w.createGroup("New project", "new")
		for state, want := range map[admin.GroupState]string{"": "Full, Leads, New project, Old project, Site Reliability", admin.GroupNamed: "Leads, Site Reliability",
			admin.GroupEmpty: "Leads, New project, Old project, Site Reliability", admin.GroupStale: "Old project"} {
			found, err := w.FindGroups(t.Context(), ada, admin.GroupQuery{State: state})
			must(t, err)
			var names []string
			for _, g := range found.Groups {
				names = append(names, g.Name)
			}
			if got := strings.Join(names, ", "); got != want || found.Any != 5 || found.States[admin.GroupStale] != 1 {
				t.Errorf("%s: found %s, states %v; want %s", state, got, found.States, want)
			}
		}
		if _, err := w.FindGroups(t.Context(), ada, admin.GroupQuery{State: "gone"}); err == nil {
			t.Error("there is no error for a state that there is not")
		}
	})
}

func TestGroupFacts_TellWhatTheGroupIsFor(t *testing.T) {
	w := newWorld(t)
	w.policies = sre()
	inner := w.createGroup("Inner", "inner")
	w.createGroup("Site Reliability", "sre", w.createUser("eve@example.com"), inner)
	w.createGroup("Leads", "leads")
	w.createGroup("Administrators", "admins")
	parts := w.parts()
	parts.Rules = func() admin.Rules {
		r := w.rules()
		r.Console = policy.Named{Name: "console", Rules: []policy.Rule{{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: "admins"}}}}}}
		return r
	}
	w.Admin = admin.New(parts)
	for name, want := range map[string]string{"Administrators": "console console[0] ", "sre": "allow sre[0] groups", "leads": "approve sre ", "Inner": ""} {
		g, err := w.GroupFacts(t.Context(), ada, name)
		must(t, err)
		var uses []string
		for _, u := range g.Uses {
			uses = append(uses, u.Effect+" "+u.Rule+" "+u.Part)
		}
		if got := strings.Join(uses, ", "); got != want || g.Named != (want != "") {
			t.Errorf("%s is used for %q, want %q", name, got, want)
		}
		if nested := len(g.Nested); nested > 0 != (name == "sre") {
			t.Errorf("%d groups are in %s", nested, name)
		}
	}
	for _, name := range []string{"leads", "admins"} {
		if err := w.RemoveGroup(t.Context(), ada, name); !errors.Is(err, admin.ErrGroupNamed) {
			t.Errorf("removing %s, which a rule names: %v", name, err)
		}
	}
	must(t, w.RemoveGroup(t.Context(), ada, "inner"))
	leads, err := w.Group(t.Context(), ada, "leads")
	must(t, err)
	w.createGroup(leads.ID, "odd")
	if g, err := w.GroupFacts(t.Context(), ada, leads.ID); err != nil || g.Name != "Leads" {
		t.Errorf("the group with an id that another has as a name is %+v, %v", g, err)
	}
}

func TestUserFacts_TellEverything(t *testing.T) {
	w := newWorld(t)
	w.policies = sre()
	boss := w.createUser("boss@example.com")
	id := w.push("POST", "/Users", `{"userName":"eve@example.com","externalId":"x","active":true,"displayName":"Eve","title":"Engineer",
		"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":{"value":"`+boss+`"}}}`, http.StatusCreated)
	w.createGroup("Zoo", "zoo", id)
	w.createGroup("Site Reliability", "sre", id)
	w.beginSession(boss)
	session := w.beginSession(id)
	f, err := w.UserFacts(t.Context(), ada, "eve@example.com")
	must(t, err)
	if f.ID != id || f.Name != "Eve" || !f.Active || f.Manager == nil || f.Manager.ID != boss || !strings.Contains(string(f.Document), "Engineer") {
		t.Errorf("the user is %+v", f)
	}
	if len(f.Groups) != 2 || f.Groups[0].Name != "Site Reliability" || f.Groups[1].Name != "Zoo" {
		t.Errorf("the groups are %+v", f.Groups)
	}
	if len(f.Sessions) != 1 || f.Sessions[0].ID != session {
		t.Errorf("the sessions are %+v", f.Sessions)
	}
	if len(f.Routes) != 1 || f.Routes[0].Route != "grafana" || f.Routes[0].Allowed[0].Rule != "sre[0]" {
		t.Errorf("the routes are %+v", f.Routes)
	}
	_, err = w.Suspend(t.Context(), ada, id, "laptop stolen")
	must(t, err)
	if f, err = w.UserFacts(t.Context(), ada, id); err != nil || f.Suspended != "laptop stolen" || f.SuspendedSince.IsZero() || len(f.Sessions)+len(f.Routes) != 0 {
		t.Errorf("suspended, the user is %+v, %v", f, err)
	}
	if _, err := w.UserFacts(t.Context(), ada, "nobody"); err == nil {
		t.Error("nobody has facts")
	}
}

// explainable has the rules answer for URLs of their only route.
func explainable(w *world) *admin.Admin {
	parts := w.parts()
	parts.Rules = func() admin.Rules {
		r := w.rules()
		r.Target = func(method, url string) (access.Target, error) {
			path, ok := strings.CutPrefix(url, "https://grafana.example.com")
			if !ok {
				return access.Target{}, errors.New("no route has this host")
			}
			route := r.Routes[0]
			return access.Target{Route: route, Method: method, Host: route.Host, Path: path, Decide: route.Policy.Decide}, nil
		}
		return r
	}
	return admin.New(parts)
}

func TestExplain_PersonAndRoute(t *testing.T) {
	w := newWorld(t)
	w.policies = sre()
	a := explainable(w)
	in, out := w.createUser("in@example.com"), w.createUser("out@example.com")
	w.createGroup("Site Reliability", "sre", in)
	for name, want := range map[string]policy.Reason{in: policy.RuleAllow, "out@example.com": policy.NoRule} {
		for _, url := range []string{"grafana", "https://grafana.example.com/d/1"} {
			e, err := a.Explain(t.Context(), ada, admin.Question{User: name, URL: url})
			if err != nil || e.Reason != string(want) || e.Request.Method != http.MethodGet || e.Route.Name != "grafana" {
				t.Errorf("%s to %s: %+v, %v; want %s", name, url, e, err, want)
			}
			if want == policy.NoRule && (len(e.Wanted) != 1 || e.Wanted[0].Members != 1) {
				t.Errorf("the groups that are wanted: %+v", e.Wanted)
			}
		}
	}
	_, err := w.Suspend(t.Context(), ada, in, "laptop stolen")
	must(t, err)
	if e, err := a.Explain(t.Context(), ada, admin.Question{User: in, URL: "grafana"}); err != nil || e.Reason != "suspended" {
		t.Errorf("suspended: %+v, %v", e, err)
	}
	if e, err := a.Explain(t.Context(), ada, admin.Question{URL: "grafana"}); err != nil || e.Reason != access.ReasonNotSignedIn {
		t.Errorf("nobody: %+v, %v", e, err)
	}
	for q, person := range map[[2]string]bool{{"nobody", "grafana"}: true, {out, "https://other.example.com/"}: false, {out, ""}: false} {
		_, err := a.Explain(t.Context(), ada, admin.Question{User: q[0], URL: q[1]})
		if problem := (*admin.QuestionError)(nil); !errors.As(err, &problem) || problem.Person != person {
			t.Errorf("%q: %v", q, err)
		}
	}
}

func TestSearch_FindsEverything(t *testing.T) {
	w := newWorld(t)
	w.policies = sre()
	eve := w.createUser("eve@grafana.example")
	group := w.createGroup("Grafana users", "grafana-users", eve)
	for text, want := range map[string]string{
		"grafana": "user eve@grafana.example, group Grafana users, route grafana", "GRAFANA.example": "user eve@grafana.example, route grafana",
		"https://grafana.example.com": "route grafana", "owner@": "route grafana", eve: "user eve@grafana.example", group: "group Grafana users",
		strings.Repeat("0a", 16): "decision " + strings.Repeat("0a", 16), strings.Repeat("0A", 16): "decision " + strings.Repeat("0a", 16),
		"": "", "nothing": "", strings.Repeat("0a", 8): "", strings.Repeat("x", 300): "",
	} {
		hits, err := w.Search(t.Context(), ada, text, 5)
		must(t, err)
		var got []string
		for _, h := range hits {
			got = append(got, string(h.Kind)+" "+h.Title)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%q finds %q, want %q", text, got, want)
		}
	}
	w.createGroup("Leads", "leads", w.createUser("lead@example.org"))
	u, _ := w.directory.ByID(eve)
	asked, err := w.Ask(t.Context(), admin.Person(u, ""), admin.Asking{User: u, Route: "grafana", Policy: "sre", Reason: "incident"})
	must(t, err)
	hits, err := w.Search(t.Context(), ada, asked.ID, 5)
	must(t, err)
	if len(hits) != 1 || hits[0].Kind != admin.HitRequest || hits[0].ID != asked.ID {
		t.Errorf("the number of a request for access finds %+v", hits)
	}
}

func TestChanges_TellWhoAndWhat(t *testing.T) {
	w := newWorld(t)
	eve := w.push("POST", "/Users", `{"userName":"eve@example.com","externalId":"x","active":true,"displayName":"Eve","title":"Engineer","name":{"familyName":"Roe"}}`, http.StatusCreated)
	group := w.createGroup("Team", "team", eve)
	w.push("PATCH", "/Users/"+eve, `{"Operations":[{"op":"replace","path":"title","value":"Lead"},{"op":"replace","path":"name.familyName","value":"Doe"},{"op":"add","path":"emails","value":[{"value":"eve@example.com","primary":true}]}]}`, http.StatusOK)
	_, err := w.Suspend(t.Context(), ada, eve, "laptop stolen")
	must(t, err)
	must(t, w.Unsuspend(t.Context(), ada, eve))
	w.push("PATCH", "/Groups/"+group, `{"Operations":[{"op":"remove","path":"members[value eq \"`+eve+`\"]"}]}`, http.StatusNoContent)

	changes, err := w.Changes(t.Context(), ada, eve, directory.HistoryQuery{Limit: 10})
	must(t, err)
	var got []string
	for _, c := range changes.Changes {
		for _, d := range c.What {
			got = append(got, strings.TrimSpace(c.By.Kind+" "+c.By.Name+" "+c.Push)+": "+d.String())
		}
	}
	want := []string{"token test PATCH: left Team", "operator ada: unsuspended", "operator ada: suspended: laptop stolen",
		`token test PATCH: emails: (none) -> [{"primary":true,"value":"eve@example.com"}]`, "token test PATCH: name.familyName: Roe -> Doe", "token test PATCH: title: Engineer -> Lead",
		"token test POST: joined Team", "token test POST: created"}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("there is no %s among\n%s", line, strings.Join(got, "\n"))
		}
	}
	if first := changes.Changes[len(changes.Changes)-1].What; first[0].Kind != admin.DifferenceCreated || !slices.ContainsFunc(first, func(d admin.Difference) bool { return d.Field == "title" && d.After == "Engineer" }) {
		t.Errorf("the first change is %+v", first)
	}
	changes, err = w.Changes(t.Context(), ada, group, directory.HistoryQuery{Limit: 10})
	must(t, err)
	if d := changes.Changes[0].What; changes.Next != 0 || !slices.ContainsFunc(d, func(d admin.Difference) bool {
		return d.Kind == admin.DifferenceLeft && d.ID == eve && d.Name == "Eve" && !d.Group
	}) {
		t.Errorf("the newest change of the group is %+v", d)
	}
	w.push("DELETE", "/Users/"+eve, "", http.StatusNoContent)
	changes, err = w.Changes(t.Context(), ada, eve, directory.HistoryQuery{Limit: 1})
	must(t, err)
	if d := changes.Changes[0].What[0]; d.Kind != admin.DifferenceDeleted || d.Before != "eve@example.com" || changes.Next == 0 {
		t.Errorf("of a deleted user, the newest change is %+v, and it goes on at %d", d, changes.Next)
	}
}

func TestRemoveStale_RemovesNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies = sre()
		gone, back := w.createUser("gone@example.com"), w.createUser("back@example.com")
		w.deactivate(gone, http.StatusOK)
		old, named := w.createGroup("Old project", "old"), w.createGroup("Site Reliability", "sre")
		time.Sleep(admin.StaleAfter + time.Hour)
		for name, remove := range map[string]func() (int, error){
			"active": func() (int, error) { return w.RemoveStaleUsers(t.Context(), ada, []string{gone, back}) },
			"nobody": func() (int, error) { return w.RemoveStaleUsers(t.Context(), ada, []string{gone, "nobody"}) },
			"none":   func() (int, error) { return w.RemoveStaleUsers(t.Context(), ada, nil) },
			"too_many": func() (int, error) {
				return w.RemoveStaleUsers(t.Context(), ada, strings.Split(strings.Repeat("x ", 101), " "))
			},
			"named":         func() (int, error) { return w.RemoveStaleGroups(t.Context(), ada, []string{old, named}) },
			"auditor":       func() (int, error) { return w.RemoveStaleUsers(t.Context(), auditor(), []string{gone}) },
			"auditor_group": func() (int, error) { return w.RemoveStaleGroups(t.Context(), auditor(), []string{old}) },
		} {
			if removed, err := remove(); removed != 0 || err == nil {
				t.Errorf("%s: removed %d, %v; want none, and an error", name, removed, err)
			}
		}
		if removed, err := w.RemoveStaleUsers(t.Context(), ada, []string{gone, gone}); removed != 1 || err != nil {
			t.Errorf("removed %d, %v; want one", removed, err)
		}
		if removed, err := w.RemoveStaleGroups(t.Context(), ada, []string{old}); removed != 1 || err != nil {
			t.Errorf("removed %d, %v; want one", removed, err)
		}
	})
}

// auditor is an auditor of the console.
func auditor() admin.Actor {
	return admin.Actor{Kind: audit.ActorUser, Name: "otto", ID: strings.Repeat("0", 32), Role: audit.RoleAuditor}
}
