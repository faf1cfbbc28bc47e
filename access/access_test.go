package access_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"sallyport/access"
	"sallyport/directory"
	"sallyport/policy"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func fatal(t interface {
	Helper()
	Fatal(...any)
}, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func route(t *testing.T, name, rules string) *access.Route {
	t.Helper()
	var written []policy.Rule
	fatal(t, yaml.Unmarshal([]byte(rules), &written))
	p, err := policy.Compile([]policy.Named{{Name: "p", Rules: written}}, policy.Options{TrustGroupNames: true})
	fatal(t, err)
	return &access.Route{Name: name, Host: "app.example.com", Path: "/", Owner: "owner@example.com", Session: true, Bearer: true, Policy: p}
}

func target(r *access.Route, method, path string) access.Target {
	return access.Target{Route: r, Method: method, Host: r.Host, Path: path, Decide: r.Policy.Decide}
}

// person returns an active user in groups, of whom each has its name as id too.
func person(name string, groups ...string) *directory.User {
	slices.Sort(groups)
	u := &directory.User{ID: "id-" + name, UserName: name + "@example.com", Active: true}
	u.GroupIDs, u.GroupNames = groups, groups
	return u
}

func explain(r *access.Route, method, path string, c access.Caller) access.Explanation {
	return access.Explain(target(r, method, path), c, access.Circumstances{Time: now, Login: now})
}

func TestExplain(t *testing.T) {
	suspended, inactive, damaged := person("sue", "SRE"), person("ian", "SRE"), person("dan", "SRE")
	suspended.Suspended, inactive.Active, damaged.Damaged = &directory.Suspension{}, false, true
	sessionsOnly := route(t, "web", `[{allow: {apps: [robot]}}]`)
	sessionsOnly.Bearer = false
	sre := route(t, "grafana", `[{allow: {groups: [{name: SRE}]}}, {deny: {methods: [DELETE], unless_groups: [{name: Admins}]}}, {deny: {groups: [{name: Interns}]}}]`)
	open := route(t, "open", `[{allow: {anyone: true, paths: [/public/**]}}]`)
	for _, c := range []struct {
		name         string
		route        *access.Route
		method, path string
		caller       access.Caller
		want         string // reason, rule
		hint         string // that is among the hints
	}{
		{"member", sre, "GET", "/", access.Caller{User: person("ada", "SRE")}, "rule_allow p[0]", ""},
		{"not_a_member", sre, "GET", "/", access.Caller{User: person("bob")}, "no_rule ", "p[0] would let the caller in if they were in one of SRE"},
		{"not_a_member_who_would_be_denied", sre, "GET", "/", access.Caller{User: person("bob", "Interns")}, "rule_deny p[2]", "p[2] keeps the caller out: it is about groups Interns"},
		{"denied_by_method", sre, "DELETE", "/", access.Caller{User: person("ada", "SRE")}, "rule_deny p[1]", "it is about methods DELETE, unless_groups Admins"},
		{"suspended", sre, "GET", "/", access.Caller{User: suspended}, "suspended ", "users unsuspend"},
		{"inactive", sre, "GET", "/", access.Caller{User: inactive}, "inactive_user ", "reactivating the user"},
		{"damaged", sre, "GET", "/", access.Caller{User: damaged}, "damaged_record ", "store check"},
		{"anonymous", sre, "GET", "/", access.Caller{}, "not_signed_in ", "signing in"},
		{"anonymous_on_open_route", open, "GET", "/public/x", access.Caller{}, "rule_allow p[0]", ""},
		{"suspended_on_open_route", open, "GET", "/public/x", access.Caller{User: suspended}, "rule_allow p[0]", ""},
		{"suspended_elsewhere_on_it", open, "GET", "/x", access.Caller{User: suspended}, "suspended ", ""},
		{"application", route(t, "api", `[{allow: {apps: [robot], roles: [writer]}}]`), "GET", "/", access.Caller{App: "robot", Roles: []string{"writer"}}, "rule_allow p[0]", ""},
		{"application_without_role", route(t, "api", `[{allow: {apps: [robot], roles: [writer]}}]`), "GET", "/", access.Caller{App: "robot"}, "no_rule ", "if they had one of the roles writer"},
		{"application_without_bearer", sessionsOnly, "GET", "/", access.Caller{App: "robot"}, "not_signed_in ", "accepts no bearer tokens"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := explain(c.route, c.method, c.path, c.caller)
			if got := e.Reason + " " + e.Rule; got != c.want || e.Allow != strings.HasPrefix(c.want, "rule_allow") {
				t.Errorf("allow %t: %q, want %q", e.Allow, got, c.want)
			}
			if hints := strings.Join(e.Hints, "\n"); !strings.Contains(hints, c.hint) || e.Allow && hints != "" {
				t.Errorf("the hints are %q, want %q", hints, c.hint)
			}
		})
	}
}

// TestExplain_HintsNameWhatWouldStillDeny: joining a group can bring a denial with it.
func TestExplain_HintsNameWhatWouldStillDeny(t *testing.T) {
	r := route(t, "app", `[{allow: {groups: [{name: SRE}]}}, {deny: {groups: [{name: SRE}], methods: [GET]}}]`)
	e := explain(r, "GET", "/", access.Caller{User: person("bob")})
	if want := []string{"p[0] would let the caller in if they were in one of SRE, but p[1] would keep the caller out then"}; !slices.Equal(e.Hints, want) {
		t.Errorf("the hints are %q, want %q", e.Hints, want)
	}
}

// TestExplain_AdvisesNothingAboutThePast: a suspension of that time may have ended since, and nobody can ask for access then.
func TestExplain_AdvisesNothingAboutThePast(t *testing.T) {
	suspended := person("sue", "SRE")
	suspended.Suspended = &directory.Suspension{}
	r := route(t, "app", `[{allow: {groups: [{name: SRE}]}}]`)
	for u, want := range map[*directory.User][]string{suspended: nil, person("bob"): {"p[0] would let the caller in if they were in one of SRE"}} {
		e := access.Explain(target(r, "GET", "/"), access.Caller{User: u}, access.Circumstances{Time: now, Past: true})
		if e.Allow || !slices.Equal(e.Hints, want) {
			t.Errorf("of %s the hints are %q, want %q", u.UserName, e.Hints, want)
		}
	}
}

// managedBy is an organization in which everybody has one manager.
type managedBy struct{ manager *directory.User }

func (m managedBy) Manager(string) (userName, externalID string, ok bool) {
	return m.manager.UserName, m.manager.ExternalID, true
}

func (m managedBy) Manages(id, _ string) bool { return id == m.manager.ID }

func TestExplain_NamesManager(t *testing.T) {
	ada, grace := person("ada"), person("grace")
	e := access.Explain(target(route(t, "app", `[{allow: {roles: [x]}}]`), "GET", "/"), access.Caller{User: ada}, access.Circumstances{Time: now, Organization: managedBy{grace}})
	if e.Caller.Manager != "grace@example.com" {
		t.Errorf("%+v", e.Caller)
	}
}

var groups = []string{"A", "B", "C"}

func somePerson(t *rapid.T) *directory.User {
	name := rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "name")
	u := person(name, rapid.SliceOfDistinct(rapid.SampledFrom(groups), rapid.ID[string]).Draw(t, "groups")...)
	u.ExternalID = "x-" + name
	u.Roles = rapid.SampledFrom([][]string{nil, {"r1"}, {"r2"}}).Draw(t, "roles")
	u.Document = []byte(rapid.SampledFrom([]string{`{}`, `{"title": "x"}`, `{"title": "y"}`}).Draw(t, "document"))
	u.Active = rapid.IntRange(0, 4).Draw(t, "active") > 0
	return u
}

func somePeople(t *rapid.T) []*directory.User {
	people := rapid.SliceOfN(rapid.Custom(somePerson), 0, 6).Draw(t, "people")
	slices.SortFunc(people, func(a, b *directory.User) int { return strings.Compare(a.UserName, b.UserName) })
	return slices.CompactFunc(people, func(a, b *directory.User) bool { return a.UserName == b.UserName })
}

func names(r *access.Route, people []*directory.User, s access.Scope) (list []string) {
	for _, reach := range access.Who([]*access.Route{r}, people, s) {
		list = append(list, reach.Caller())
	}
	slices.Sort(list)
	return list
}

// TestDiff_IsWhoBeforeAndAfter: who gains access reaches the route by the new rules
// only, and who loses it by the old rules only.
func TestDiff_IsWhoBeforeAndAfter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after, people := someRoute(t), someRoute(t), somePeople(t)
		s := access.Scope{Time: now}
		old, new := names(before, people, s), names(after, people, s)
		var got access.Difference
		for _, d := range access.Diff([]*access.Route{before}, []*access.Route{after}, people, s) {
			got = d
		}
		without := func(list, others []string) []string {
			return slices.DeleteFunc(slices.Clone(list), func(name string) bool { return slices.Contains(others, name) })
		}
		if !slices.Equal(got.Gained, without(new, old)) || !slices.Equal(got.Lost, without(old, new)) {
			t.Fatalf("%+v; before %q, after %q", got, old, new)
		}
	})
}

func TestDiff_OfRoutes(t *testing.T) {
	rules := `[{allow: {anyone: true}}, {allow: {apps: [robot], methods: [GET]}}]`
	list := access.Diff([]*access.Route{route(t, "old", rules)}, []*access.Route{route(t, "new", rules)}, []*directory.User{person("ada")}, access.Scope{Time: now})
	if len(list) != 2 || list[0].Route != "new" || !slices.Equal(list[0].Gained, []string{"ada@example.com", "anyone", "app:robot"}) || list[1].Route != "old" || !slices.Equal(list[1].Lost, list[0].Gained) {
		t.Errorf("%+v", list)
	}
	if list := access.Diff([]*access.Route{route(t, "a", rules)}, []*access.Route{route(t, "a", rules)}, []*directory.User{person("ada")}, access.Scope{Time: now}); len(list) > 0 {
		t.Errorf("the same rules differ: %+v", list)
	}
}

func TestWhat_InOrderOfRoutes(t *testing.T) {
	routes := []*access.Route{route(t, "b", `[{allow: {groups: [{name: SRE}]}}]`), route(t, "x", `[{allow: {groups: [{name: Other}]}}]`), route(t, "a", `[{allow: {groups: [{name: SRE}], paths: [/x]}}, {deny: {methods: [PUT]}}]`)}
	var got []string
	for _, reach := range access.What(routes, person("ada", "SRE"), access.Scope{Time: now}) {
		got = append(got, reach.Route+": "+reach.String())
	}
	if want := []string{"b: p[0]", "a: p[0] if paths /x; except p[1] if methods PUT"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
