package access_test

import (
	"fmt"
	"slices"
	"testing"

	"sallyport/access"
	"sallyport/directory"
)

// users finds people by id.
func users(people ...*directory.User) func(id string) (*directory.User, bool) {
	return func(id string) (*directory.User, bool) {
		i := slices.IndexFunc(people, func(u *directory.User) bool { return u.ID == id })
		if i < 0 {
			return nil, false
		}
		return people[i], true
	}
}

// targets finds the target of a URL on the host of r; other hosts have no route.
func targets(r *access.Route) func(method, url string) (access.Target, error) {
	return func(method, url string) (access.Target, error) {
		if len(url) <= len(r.Host) || url[:len(r.Host)] != r.Host {
			return access.Target{}, fmt.Errorf("%s has no route", url)
		}
		return target(r, method, url[len(r.Host):]), nil
	}
}

func TestReplay_ListsWhatFlips(t *testing.T) {
	inForce, next := route(t, "app", `[{allow: {groups: [{name: SRE}]}}]`), route(t, "app", `[{allow: {groups: [{name: SRE}], paths: [/a]}}, {allow: {apps: [robot]}}]`)
	replay := access.Replay{New: targets(next), InForce: targets(inForce), User: users(person("ada", "SRE"), person("bob"))}
	recorded := func(name, path string, allow bool) access.Recorded {
		r := access.Recorded{Time: now, User: "id-" + name, Name: name + "@example.com", Method: "GET", Host: "app.example.com", Path: path, Allow: allow, Reason: "no_rule"}
		if allow {
			r.Reason, r.Rule = "rule_allow", "p[0]"
		}
		return r
	}
	robot := recorded("", "/x", false)
	robot.User, robot.Name = "", "app:robot"
	elsewhere := recorded("ada", "/a", true)
	elsewhere.Host = "gone.example.com"
	for _, r := range []access.Recorded{recorded("ada", "/a", true), recorded("ada", "/b", true), recorded("ada", "/b", true), recorded("bob", "/a", true),
		recorded("bob", "/c", false), recorded("eve", "/a", true), recorded("eve", "/a", false), robot, elsewhere} {
		replay.Add(r)
	}
	flips, n := replay.Flips()
	var got []string
	for _, f := range flips {
		got = append(got, fmt.Sprintf("%d %s %s %s -> %s %t", f.Times, f.Caller, f.URL, f.Recorded, f.New, f.InForce))
	}
	want := []string{
		"2 ada@example.com app.example.com/b allow: rule_allow by p[0] -> deny: no_rule false",
		"1 ada@example.com gone.example.com/a allow: rule_allow by p[0] -> deny: no_route true",
		"1 app:robot app.example.com/x deny: no_rule -> allow: rule_allow by p[1] false",
		"1 bob@example.com app.example.com/a allow: rule_allow by p[0] -> deny: no_rule true",
		"1 eve@example.com app.example.com/a allow: rule_allow by p[0] -> deny: unknown_user true",
	}
	if n != 9 || !slices.Equal(got, want) {
		t.Errorf("of %d decisions:\n%q\nwant\n%q", n, got, want)
	}
}

// TestReplay_BreakGlassHasNoLogin: rules that will demand something of the login would not let a break-glass session in.
func TestReplay_BreakGlassHasNoLogin(t *testing.T) {
	inForce := route(t, "app", `[{allow: {groups: [{name: SRE}]}}]`)
	for demand, want := range map[string]string{"{max_age: 1h}": "deny: login_too_old by p[0]", "{amr: [mfa]}": "deny: login_too_weak by p[0]"} {
		next := route(t, "app", `[{allow: {groups: [{name: SRE}], auth: `+demand+`}}]`)
		replay := access.Replay{New: targets(next), InForce: targets(inForce), User: users(person("ada", "SRE"))}
		login := access.Recorded{Time: now, User: "id-ada", Name: "ada@example.com", Method: "GET", Host: "app.example.com", Path: "/login", Allow: true, Reason: "rule_allow", Rule: "p[0]"}
		code := login
		code.Path, code.BreakGlass = "/code", true
		replay.Add(login)
		replay.Add(code)
		flips, _ := replay.Flips()
		if len(flips) != 1 || flips[0].URL != "app.example.com/code" || flips[0].New != want || flips[0].InForce {
			t.Errorf("with %s the flips are %+v", demand, flips)
		}
	}
}

// TestUsage_OfDenyRules: a deny rule that was used is needed for all its groups.
func TestUsage_OfDenyRules(t *testing.T) {
	routes := []*access.Route{route(t, "app", `[{deny: {groups: [{name: SRE}, {name: Ops}]}}]`)}
	usage := access.Usage{User: users(person("ada", "SRE"))}
	usage.Add(access.Recorded{User: "id-ada", Route: "app", Rule: "p[0]"})
	if got := usage.Unused(routes); len(got) > 0 {
		t.Errorf("%+v", got)
	}
}

func TestUsage_ListsUnusedRulesAndGroups(t *testing.T) {
	routes := []*access.Route{route(t, "app", `[{allow: {groups: [{name: SRE}, {name: Ops}]}}, {allow: {roles: [x]}}, {deny: {methods: [PUT]}}, {allow: {roles: [y]}, mode: report}]`)}
	usage := access.Usage{User: users(person("ada", "SRE"))}
	usage.Add(access.Recorded{User: "id-ada", Route: "app", Rule: "p[0]", ReportRule: "p[3]"})
	usage.Add(access.Recorded{User: "id-ada", Route: "other", Rule: "p[1]"})
	usage.Add(access.Recorded{Route: "app"})
	want := []access.Unused{{Route: "app", Rule: "p[0]", Group: "Ops"}, {Route: "app", Rule: "p[1]"}, {Route: "app", Rule: "p[2]"}}
	if got := usage.Unused(routes); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
