package access_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/access"
	"sallyport/directory"
	"sallyport/policy"
)

func some(t *rapid.T, label string, values ...string) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(values), 1, 2, rapid.ID[string]).Draw(t, label)
}

func someRefs(t *rapid.T, label string) (refs []policy.GroupRef) {
	for _, id := range some(t, label, groups...) {
		refs = append(refs, policy.GroupRef{ID: id})
	}
	return refs
}

// partsOf sets one part of a rule each. Only the last two are of allow rules alone.
var partsOf = []func(*rapid.T, *policy.Match){
	func(t *rapid.T, m *policy.Match) { m.Groups = someRefs(t, "groups") },
	func(t *rapid.T, m *policy.Match) { m.AllGroups = someRefs(t, "all_groups") },
	func(t *rapid.T, m *policy.Match) { m.UnlessGroups = someRefs(t, "unless_groups") },
	func(t *rapid.T, m *policy.Match) { m.Users = some(t, "users", "a@example.com", "x-b", "c@example.com") },
	func(t *rapid.T, m *policy.Match) { m.NotUsers = some(t, "not_users", "a@example.com", "x-b") },
	func(t *rapid.T, m *policy.Match) { m.Roles = some(t, "roles", "r1", "r2") },
	func(t *rapid.T, m *policy.Match) { m.ReportsTo = some(t, "reports_to", "boss@example.com", "x") },
	func(t *rapid.T, m *policy.Match) { m.ManagerOf = some(t, "manager_of", "a@example.com", "x") },
	func(t *rapid.T, m *policy.Match) {
		m.Attributes = map[string][]string{"title": some(t, "title", "x", "y")}
	},
	func(t *rapid.T, m *policy.Match) { m.Apps = some(t, "apps", "a1", "a2") },
	func(t *rapid.T, m *policy.Match) {
		m.Methods = rapid.SampledFrom([][]string{{"any"}, {"GET"}, {"POST"}, {"GET", "PROPFIND"}}).Draw(t, "methods")
	},
	func(t *rapid.T, m *policy.Match) { m.Paths = some(t, "paths", "/a", "/b", "/*", "/a/**") },
	func(t *rapid.T, m *policy.Match) { m.Networks = some(t, "networks", "10.0.0.0/8", "192.0.2.1") },
	func(t *rapid.T, m *policy.Match) {
		m.Hours = rapid.SampledFrom([]*policy.Hours{{From: "08:00", To: "18:00"}, {From: "22:00", To: "06:00"}, {Days: []string{"sat"}}}).Draw(t, "hours")
	},
	func(t *rapid.T, m *policy.Match) {
		m.When = rapid.SampledFrom([]string{`request.path == "/a"`, `!("r1" in user.roles)`, `user.attributes.title == "x"`, "true"}).Draw(t, "when")
	},
	func(t *rapid.T, m *policy.Match) {
		m.MaxAuthAge = rapid.SampledFrom([]time.Duration{time.Hour, 3 * time.Hour}).Draw(t, "max_auth_age")
	},
	func(t *rapid.T, m *policy.Match) {
		m.Auth = rapid.SampledFrom([]*policy.Login{{AMR: []string{"mfa"}}, {ACR: []string{"high"}}}).Draw(t, "auth")
	},
}

func compiled(rules []policy.Rule) (*policy.Policy, error) {
	return policy.Compile([]policy.Named{{Name: "p", Rules: rules}}, policy.Options{})
}

func someRule(t *rapid.T) policy.Rule {
	return rapid.Custom(func(t *rapid.T) policy.Rule {
		m, deny, settings := &policy.Match{}, rapid.IntRange(0, 3).Draw(t, "deny") == 0, partsOf
		if deny {
			settings = partsOf[:len(partsOf)-2]
		}
		for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(settings)-1), 0, 3, rapid.ID[int]).Draw(t, "parts") {
			settings[i](t, m)
		}
		m.Anyone = !deny && rapid.IntRange(0, 9).Draw(t, "anyone") == 0
		r := policy.Rule{Allow: m, Until: rapid.SampledFrom([]string{"", "", "2026-11-22", "2026-11-30"}).Draw(t, "until")}
		if deny {
			r = policy.Rule{Deny: m, Until: r.Until}
		}
		if rapid.IntRange(0, 9).Draw(t, "report") == 0 {
			r.Mode = "report"
		}
		return r
	}).Filter(func(r policy.Rule) bool {
		_, err := compiled([]policy.Rule{r})
		return err == nil
	}).Draw(t, "rule")
}

func someRules(t *rapid.T, label string) []policy.Rule {
	return rapid.SliceOfN(rapid.Custom(someRule), 1, 5).Draw(t, label)
}

func routeOf(t *rapid.T, rules []policy.Rule) *access.Route {
	p, err := compiled(rules)
	fatal(t, err)
	accept := rapid.SampledFrom([][2]bool{{true, true}, {true, false}, {false, true}}).Draw(t, "accept")
	return &access.Route{Name: "app", Host: "app.example.com", Path: "/", Session: accept[0], Bearer: accept[1], Policy: p}
}

func someRoute(t *rapid.T) *access.Route { return routeOf(t, someRules(t, "rules")) }

var boss = &directory.User{ID: "id-boss", UserName: "boss@example.com", ExternalID: "x-boss", Active: true}

// TestWho_IsWhomDecideAllows: for one request, those who reach a route are those whom its
// policy allows, if they sign in as it demands.
func TestWho_IsWhomDecideAllows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, people := someRoute(t), somePeople(t)
		people = append(people, boss)
		s := access.Scope{Method: rapid.SampledFrom([]string{"GET", "POST"}).Draw(t, "method"), Path: rapid.SampledFrom([]string{"/a", "/b", "/c"}).Draw(t, "path"),
			Address: rapid.SampledFrom([]string{"10.1.2.3", "192.0.2.1"}).Draw(t, "address"), Time: now, AtTime: true, Organization: managedBy{boss}}
		lets := func(c access.Caller) bool {
			e := access.Explain(target(r, s.Method, s.Path), c, access.Circumstances{Time: now, Login: now, Address: s.Address, Organization: s.Organization})
			return e.Allow || e.Reason == string(policy.LoginTooWeak)
		}
		var want []string
		if lets(access.Caller{}) {
			want = append(want, "anyone")
		}
		for _, app := range []string{"a1", "a2"} {
			with, without := lets(access.Caller{App: app, Roles: []string{"r1", "r2"}}), lets(access.Caller{App: app, Roles: []string{}})
			if slices.Contains(r.Policy.Apps(), app) && r.Bearer && (with || without || lets(access.Caller{App: app, Roles: []string{"r2"}}) || lets(access.Caller{App: app, Roles: []string{"r1"}})) {
				want = append(want, "app:"+app)
			}
		}
		got := names(r, people, s)
		for _, u := range people {
			if u.Barred() == "" && lets(access.Caller{User: u}) {
				want = append(want, u.UserName)
			}
		}
		// An application of which the roles are not known may reach the route under conditions that exclude each other.
		got = slices.DeleteFunc(got, func(name string) bool { return strings.HasPrefix(name, "app:") && !slices.Contains(want, name) })
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

// TestExplain_HintsAreTrue: a caller is let in where everything is so that a hint asks
// for, unless it names a rule that may still be in the way.
func TestExplain_HintsAreTrue(t *testing.T) {
	tried := 0
	rapid.Check(t, func(t *rapid.T) {
		rules, u := someRules(t, "rules"), somePerson(t)
		r := routeOf(t, rules)
		in := access.Circumstances{Time: now, Login: now.Add(-2 * time.Hour), Address: "192.0.2.1", Organization: managedBy{boss}}
		method, path := rapid.SampledFrom([]string{"GET", "POST", "PROPFIND"}).Draw(t, "method"), "/c"
		e := access.Explain(target(r, method, path), access.Caller{User: u}, in)
		for _, hint := range e.Hints {
			var index int
			if _, err := fmt.Sscanf(hint, "p[%d] would", &index); err != nil || strings.Contains(hint, "caller out then") {
				continue
			}
			m, changed := rules[index].Allow, *u // records never change, and Explain remembers what rules say of one
			if !meet(m, rules[index].Until, hint, &changed, &in, &method, &path) {
				continue
			}
			tried++
			if e := access.Explain(target(r, method, path), access.Caller{User: &changed}, in); !e.Allow {
				t.Fatalf("%q, but then the caller is denied: %s %s", hint, e.Reason, e.Rule)
			}
			return // the request is another one now
		}
	})
	if tried == 0 {
		t.Error("no hint was tried")
	}
}

// meet changes a request so that everything is so that a hint asks for. It returns false
// if a test cannot do so.
func meet(m *policy.Match, until, hint string, u *directory.User, in *access.Circumstances, method, path *string) bool {
	asks := func(text string) bool { return strings.Contains(hint, text) }
	if slices.ContainsFunc([]string{"this held", "they were one of", "they were not one of", "in none of", "applications", "had not ended", "it were ", "their manager", "manager of", "still held"}, asks) {
		return false
	}
	if asks("in one of") {
		u.GroupIDs = append(u.GroupIDs, m.Groups[0].ID)
	}
	if asks("in every one of") {
		for _, g := range m.AllGroups {
			u.GroupIDs = append(u.GroupIDs, g.ID)
		}
	}
	slices.Sort(u.GroupIDs)
	u.GroupIDs = slices.Compact(u.GroupIDs)
	u.GroupNames = u.GroupIDs
	if asks("the roles") {
		u.Roles = append(slices.Clone(u.Roles), m.Roles[0])
	}
	if asks("their attributes") {
		u.Document = []byte(`{"title": "` + m.Attributes["title"][0] + `"}`)
	}
	if asks("the method were") {
		*method = "GET"
		if len(m.Methods) > 0 {
			*method = m.Methods[0]
		}
	}
	if asks("the path matched") {
		*path = strings.NewReplacer("/*", "/x", "/**", "").Replace(m.Paths[0])
	}
	if asks("they came from") {
		in.Address = strings.TrimSuffix(strings.Replace(m.Networks[0], "10.0.0.0", "10.1.1.1", 1), "/8")
	}
	if asks("signed in") {
		in.Login = in.Time
		if m.Auth != nil {
			in.Strength = policy.Strength{AMR: m.Auth.AMR}
			if len(m.Auth.ACR) > 0 {
				in.Strength.ACR = m.Auth.ACR[0]
			}
		}
	}
	return true
}

// TestDiff_TellsCallersApart: a user may be called as an application is, or as another
// user but for case.
func TestDiff_TellsCallersApart(t *testing.T) {
	people := []*directory.User{person("ada", "A"), {ID: "2", UserName: "anyone", Active: true}, {ID: "3", UserName: "app:robot", Active: true}, {ID: "4", UserName: "ADA@example.com", Active: true}}
	people[1].GroupIDs, people[1].GroupNames = []string{"A"}, []string{"A"}
	people[2].GroupIDs, people[2].GroupNames = []string{"A"}, []string{"A"}
	people[3].GroupIDs, people[3].GroupNames = []string{"A"}, []string{"A"}
	before := route(t, "app", `[{allow: {anyone: true, paths: [/x]}}, {allow: {apps: [robot]}}]`)
	after := route(t, "app", `[{allow: {anyone: true, paths: [/x]}}, {allow: {apps: [robot]}}, {allow: {groups: [{id: A}]}}]`)
	list := access.Diff([]*access.Route{before}, []*access.Route{after}, people, access.Scope{Time: now})
	if len(list) != 1 || len(list[0].Changed) != 4 || len(list[0].Gained)+len(list[0].Lost) > 0 {
		t.Errorf("%+v", list)
	}
	list = access.Diff([]*access.Route{after}, []*access.Route{route(t, "app", `[{allow: {groups: [{id: A}]}}]`)}, people, access.Scope{Time: now})
	if len(list) != 1 || !slices.Equal(list[0].Lost, []string{"anyone", "app:robot"}) {
		t.Errorf("%+v", list)
	}
}

// TestDiff_IgnoresNamesOfRules: a rule that is put before others changes nothing about them.
func TestDiff_IgnoresNamesOfRules(t *testing.T) {
	before := route(t, "app", `[{allow: {groups: [{id: A}], methods: [GET]}}, {allow: {groups: [{id: B}]}}, {deny: {paths: [/x]}}]`)
	after := route(t, "app", `[{deny: {paths: [/x]}}, {allow: {groups: [{id: C}]}}, {allow: {groups: [{id: B}]}}, {allow: {groups: [{id: A}], methods: [GET]}}]`)
	people := []*directory.User{person("ada", "A"), person("bob", "B"), person("eve", "A", "B")}
	if list := access.Diff([]*access.Route{before}, []*access.Route{after}, people, access.Scope{Time: now}); len(list) > 0 {
		t.Errorf("%+v", list)
	}
}

// TestDiff_SaysWhatElseChanges: methods beyond the usual ones, the end of a rule, and
// where a route is.
func TestDiff_SaysWhatElseChanges(t *testing.T) {
	before := route(t, "app", `[{allow: {groups: [{id: A}]}}]`)
	people := []*directory.User{person("ada", "A")}
	for _, rules := range []string{`[{allow: {groups: [{id: A}], methods: [any]}}]`, `[{allow: {groups: [{id: A}]}, until: 2027-01-31}]`} {
		list := access.Diff([]*access.Route{before}, []*access.Route{route(t, "app", rules)}, people, access.Scope{Time: now})
		if len(list) != 1 || !slices.Equal(list[0].Changed, []string{"ada@example.com"}) {
			t.Errorf("%s: %+v", rules, list)
		}
	}
	moved := route(t, "app", `[{allow: {groups: [{id: A}]}}]`)
	moved.Host, moved.Bearer = "new.example.com", false
	list := access.Diff([]*access.Route{before}, []*access.Route{moved}, people, access.Scope{Time: now})
	if len(list) != 1 || list[0].Moved != "app.example.com/ (session, bearer) to new.example.com/ (session)" {
		t.Errorf("%+v", list)
	}
}

// TestExplain_OfCredentials: what a route does not accept proves nothing.
func TestExplain_OfCredentials(t *testing.T) {
	ada := person("ada", "A")
	r := route(t, "app", `[{allow: {groups: [{id: A}]}}]`)
	for _, c := range []struct {
		session, bearer bool
		sent            access.Credential
		want            string
	}{
		{true, true, "", "rule_allow"}, {false, true, "", "rule_allow"}, {true, false, access.BearerToken, "not_signed_in"}, {false, true, access.SessionCookie, "not_signed_in"},
		{true, false, access.SessionCookie, "rule_allow"}, {false, true, access.BearerToken, "rule_allow"},
	} {
		r.Session, r.Bearer = c.session, c.bearer
		if e := explain(r, "GET", "/", access.Caller{User: ada, Credential: c.sent}); e.Reason != c.want {
			t.Errorf("%+v: %s", c, e.Reason)
		}
	}
}

// TestExplain_OfLogins: rules that demand a login are met by one, and a browser is sent
// to get one.
func TestExplain_OfLogins(t *testing.T) {
	r := route(t, "app", `[{allow: {groups: [{id: A}], max_auth_age: 1h, auth: {amr: [mfa]}}}]`)
	who, in := access.Caller{User: person("ada", "A")}, access.Circumstances{Time: now, Login: now}
	e := access.Explain(target(r, "GET", "/"), who, in)
	if e.Reason != "login_too_weak" || !strings.Contains(strings.Join(e.Hints, "\n"), "a browser is sent to sign in so") {
		t.Errorf("%+v", e)
	}
	in.Strength.AMR = []string{"pwd", "mfa"}
	if e := access.Explain(target(r, "GET", "/"), who, in); !e.Allow {
		t.Errorf("%+v", e)
	}
	in.Login = now.Add(-2 * time.Hour)
	if e := access.Explain(target(r, "GET", "/"), who, in); e.Reason != "login_too_old" {
		t.Errorf("%+v", e)
	}
}

// TestReplay_KnowsWhatTheRecordLacks: how somebody signed in, the roles of applications,
// and denials that no rule decided.
func TestReplay_KnowsWhatTheRecordLacks(t *testing.T) {
	r := route(t, "app", `[{allow: {groups: [{id: A}], auth: {amr: [mfa]}}}, {allow: {apps: [robot], roles: [writer]}}]`)
	replay := access.Replay{New: targets(r), InForce: targets(r), User: users(person("ada", "A"))}
	ada := access.Recorded{Time: now, User: "id-ada", Name: "ada@example.com", Method: "GET", Host: "app.example.com", Path: "/", Allow: true, Rule: "p[0]", Reason: "rule_allow"}
	weak, robot, expired, preflight := ada, ada, ada, ada
	weak.Allow, weak.Reason = false, "login_too_weak"
	robot.User, robot.Name, robot.Rule = "", "app:robot", "p[1]"
	expired.Allow, expired.Reason = false, "session_expired"
	preflight.User, preflight.Name, preflight.Reason, preflight.Method = "", "", "cors_preflight", "OPTIONS"
	for _, e := range []access.Recorded{ada, weak, robot, expired, preflight} {
		replay.Add(e)
	}
	if flips, n := replay.Flips(); len(flips) > 0 || n != 3 {
		t.Errorf("%d decisions: %+v", n, flips)
	}
}

// TestLint_CountsUsersOnly: that an application reaches a route too makes nobody more.
func TestLint_CountsUsersOnly(t *testing.T) {
	r := route(t, "app", `[{allow: {groups: [{id: A}]}}, {allow: {apps: [robot]}}]`)
	people := []*directory.User{person("ada", "A"), person("bob"), person("eve", "A")}
	if got := access.Lint(access.Subject{Routes: []*access.Route{r}, Uses: [][]string{{"p"}}, Users: people, Scope: access.Scope{Time: now}}); len(got) > 0 {
		t.Errorf("%+v", got)
	}
}

// TestLint_OfAttributes: one user of many may have the attribute.
func TestLint_OfAttributes(t *testing.T) {
	people := make([]*directory.User, 1500)
	for i := range people {
		people[i] = person(fmt.Sprint("user", i), "A")
	}
	people[1499].Document = []byte(`{"title": "x"}`)
	rules := []policy.Rule{{Allow: &policy.Match{When: `user.attributes.title == "x"`}}, {Allow: &policy.Match{Attributes: map[string][]string{"title": {"X"}, "userType": {"y"}}}}}
	p, err := compiled(rules)
	fatal(t, err)
	got := access.Lint(access.Subject{Policies: []policy.Named{{Name: "p", Rules: rules}}, Uses: [][]string{{"p"}}, Users: people, Scope: access.Scope{Time: now},
		Routes: []*access.Route{{Name: "app", Path: "/", Session: true, Policy: p}}})
	if len(got) != 1 || got[0].Path != "policies[0].rules[1].allow.attributes.userType" {
		t.Errorf("%+v", got)
	}
}

// TestExplain_TellsOfWantedGroups: how many members they have, and when they changed.
func TestExplain_TellsOfWantedGroups(t *testing.T) {
	r := route(t, "app", `[{allow: {groups: [{id: id-sre, name: Ops}, {id: gone, name: Gone}]}}, {allow: {all_groups: [{name: Staff}, {id: id-sre}]}}]`)
	pushed := []directory.Group{{ExternalID: "id-sre", DisplayName: "SRE", Members: 2, Modified: now}, {DisplayName: "Staff", Members: 3, Modified: now}}
	e := access.Explain(target(r, "GET", "/"), access.Caller{User: person("ada")}, access.Circumstances{Time: now, Login: now, Groups: pushed})
	want := []access.WantedGroup{{GroupName: access.GroupName{ID: "id-sre", Name: "SRE"}, Members: 2, Changed: now},
		{GroupName: access.GroupName{ID: "gone", Name: "Gone"}}, {GroupName: access.GroupName{Name: "Staff"}, Members: 3, Changed: now}}
	if !slices.Equal(e.Wanted, want) {
		t.Errorf("%+v, want %+v", e.Wanted, want)
	}
}

// TestWhoAtMost_StopsAtLimit: no list is longer.
func TestWhoAtMost_StopsAtLimit(t *testing.T) {
	r := route(t, "app", `[{allow: {groups: [{id: A}]}}, {allow: {anyone: true, paths: [/x]}}]`)
	people := []*directory.User{person("ada", "A"), person("bob", "A")}
	for limit, want := range map[int]int{0: 0, 2: 0, 3: 3, 4: 3} {
		list, ok := access.WhoAtMost(limit, []*access.Route{r}, people, access.Scope{Time: now})
		if len(list) != want || ok != (want > 0) {
			t.Errorf("at most %d: %d, %t", limit, len(list), ok)
		}
	}
}

// TestLint_OfRoles: users are pushed with their roles, and the tokens of applications have theirs.
func TestLint_OfRoles(t *testing.T) {
	rules := []policy.Rule{{Allow: &policy.Match{Roles: []string{"auditor", "auditer"}}}, {Allow: &policy.Match{Apps: []string{"robot"}, Roles: []string{"writer"}}}}
	p, err := compiled(rules)
	fatal(t, err)
	ada := person("ada", "A")
	ada.Roles = []string{"auditor"}
	got := access.Lint(access.Subject{Policies: []policy.Named{{Name: "p", Rules: rules}}, Uses: [][]string{{"p"}}, Users: []*directory.User{ada, person("bob")}, Scope: access.Scope{Time: now},
		Routes: []*access.Route{{Name: "app", Path: "/", Session: true, Policy: p}}})
	if len(got) != 1 || got[0].Path != "policies[0].rules[0].allow.roles[1]" {
		t.Errorf("%+v", got)
	}
}
