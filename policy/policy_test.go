package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"sallyport/policy"
)

const (
	sre        = "61503835-0000-0000-0000-000000000001"
	admins     = "61503835-0000-0000-0000-000000000002"
	contractor = "61503835-0000-0000-0000-000000000003"
)

// document is a user's SCIM document.
type document map[string]any

func (d document) Attributes() map[string]any { return d }

func compile(t testing.TB, rules string) *policy.Policy {
	t.Helper()
	var written []policy.Rule
	if err := yaml.Unmarshal([]byte(rules), &written); err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile([]policy.Named{{Name: "p", Rules: written}}, policy.Options{TrustGroupNames: true})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// newRequest returns a request of a user in groups, at noon UTC.
func newRequest(method, path string, groups ...string) *policy.Request {
	slices.Sort(groups)
	names := make([]string, len(groups))
	for i := range groups {
		names[i] = "name of " + groups[i]
	}
	return &policy.Request{UserID: "1", UserName: "alice@example.com", ExternalID: "oid-alice", GroupIDs: groups, GroupNames: names,
		Roles: []string{"auditor"}, Method: method, Host: "app.example.com", Path: path,
		Attributes: document{"department": "Tools"},
		Time:       time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
}

// TestPolicy_Decide is a table for people who review access: rules, request, decision.
func TestPolicy_Decide(t *testing.T) {
	sreRule := `[{allow: {groups: [{id: ` + sre + `, name: SRE}]}}]`
	writesByAdmins := `[{allow: {groups: [{id: ` + sre + `}]}}, {deny: {methods: [DELETE], unless_groups: [{id: ` + admins + `}]}}]`
	reports := `[{allow: {roles: [auditor], methods: [GET, HEAD], paths: [/reports/*]}}]`
	anonymous := func(method, path string) *policy.Request {
		return &policy.Request{Anonymous: true, Method: method, Path: path}
	}
	for _, c := range []struct {
		name    string
		rules   string
		request *policy.Request
		want    string // allow or deny, and why
	}{
		{"no rules", `[{deny: {methods: [PUT]}}]`, newRequest("GET", "/", sre), "deny no_rule"},
		{"member of the group", sreRule, newRequest("GET", "/", sre), "allow rule_allow p[0]"},
		{"member of another group", sreRule, newRequest("GET", "/", admins), "deny no_rule"},
		{"in no group", sreRule, newRequest("GET", "/"), "deny no_rule"},
		{"not signed in", sreRule, anonymous("GET", "/"), "deny no_rule"},
		{"group name in place of its ID", sreRule, newRequest("GET", "/", "SRE"), "deny no_rule"},
		{"unusual method, not named", sreRule, newRequest("TRACE", "/", sre), "deny no_rule"},
		{"method in lower case", sreRule, newRequest("get", "/", sre), "deny no_rule"},
		{"unusual method, named", `[{allow: {roles: [auditor], methods: [PROPFIND]}}]`, newRequest("PROPFIND", "/"), "allow rule_allow p[0]"},
		{"deny outweighs allow", writesByAdmins, newRequest("DELETE", "/x", sre), "deny rule_deny p[1]"},
		{"unless_groups exempts its members", writesByAdmins, newRequest("DELETE", "/x", sre, admins), "allow rule_allow p[0]"},
		{"deny for another method", writesByAdmins, newRequest("GET", "/x", sre), "allow rule_allow p[0]"},
		{"deny before allow", `[{deny: {groups: [{id: ` + contractor + `}]}}, {allow: {groups: [{id: ` + sre + `}]}}]`, newRequest("GET", "/", sre, contractor), "deny rule_deny p[0]"},
		{"one segment", reports, newRequest("GET", "/reports/q3"), "allow rule_allow p[0]"},
		{"two segments for *", reports, newRequest("GET", "/reports/q3/raw"), "deny no_rule"},
		{"parent of /*", reports, newRequest("GET", "/reports"), "deny no_rule"},
		{"empty segment for *", reports, newRequest("GET", "/reports/"), "deny no_rule"},
		{"empty segment before another", `[{allow: {roles: [auditor], paths: ['/*']}}]`, newRequest("GET", "//a"), "deny no_rule"},
		{"longer segment", reports, newRequest("GET", "/reportsx/q3"), "deny no_rule"},
		{"another method", reports, newRequest("POST", "/reports/q3"), "deny no_rule"},
		{"/** at depth", `[{allow: {roles: [auditor], paths: [/a/**]}}]`, newRequest("GET", "/a/b/c"), "allow rule_allow p[0]"},
		{"/** at the path itself", `[{allow: {roles: [auditor], paths: [/a/**]}}]`, newRequest("GET", "/a"), "allow rule_allow p[0]"},
		{"/** at the path with a slash", `[{allow: {roles: [auditor], paths: [/a/**]}}]`, newRequest("GET", "/a/"), "allow rule_allow p[0]"},
		{"/** at a longer segment", `[{allow: {roles: [auditor], paths: [/a/**]}}]`, newRequest("GET", "/ab"), "deny no_rule"},
		{"denied /** includes the path itself", `[{allow: {roles: [auditor]}}, {deny: {paths: [/secret/**]}}]`, newRequest("GET", "/secret"), "deny rule_deny p[1]"},
		{"denied path with a slash", `[{allow: {roles: [auditor]}}, {deny: {paths: [/docs/secret]}}]`, newRequest("GET", "/docs/secret/"), "deny rule_deny p[1]"},
		{"denied /* with a slash", `[{allow: {roles: [auditor]}}, {deny: {paths: [/reports/*]}}]`, newRequest("GET", "/reports/x/"), "deny rule_deny p[1]"},
		{"denied path written with a slash", `[{allow: {roles: [auditor]}}, {deny: {paths: [/docs/secret/]}}]`, newRequest("GET", "/docs/secret"), "deny rule_deny p[1]"},
		{"denied path written with a slash, with one", `[{allow: {roles: [auditor]}}, {deny: {paths: [/docs/secret/]}}]`, newRequest("GET", "/docs/secret/"), "deny rule_deny p[1]"},
		{"denied path, below it", `[{allow: {roles: [auditor]}}, {deny: {paths: [/docs/secret]}}]`, newRequest("GET", "/docs/secret/x"), "allow rule_allow p[0]"},
		{"denied path, two slashes", `[{allow: {roles: [auditor]}}, {deny: {paths: [/docs/secret]}}]`, newRequest("GET", "/docs/secret//"), "allow rule_allow p[0]"},
		{"denied /* leaves the path above it", `[{allow: {roles: [auditor]}}, {deny: {paths: [/reports/*]}}]`, newRequest("GET", "/reports/"), "allow rule_allow p[0]"},
		{"denied root", `[{allow: {roles: [auditor]}}, {deny: {paths: [/]}}]`, newRequest("GET", "/"), "deny rule_deny p[1]"},
		{"allowed path with a slash", `[{allow: {roles: [auditor], paths: [/docs/open]}}]`, newRequest("GET", "/docs/open/"), "deny no_rule"},
		{"allowed path written with a slash", `[{allow: {roles: [auditor], paths: [/docs/open/]}}]`, newRequest("GET", "/docs/open"), "deny no_rule"},
		{"denying condition, with a slash", `[{allow: {roles: [auditor]}}, {deny: {when: 'request.path == "/docs/secret"'}}]`, newRequest("GET", "/docs/secret/"), "deny rule_deny p[1]"},
		{"denying condition without a path, with a slash", `[{allow: {roles: [auditor]}}, {deny: {when: 'request.method == "POST"'}}]`, newRequest("GET", "/docs/"), "allow rule_allow p[0]"},
		{"denying condition written with a slash", `[{allow: {roles: [auditor]}}, {deny: {when: 'request.path.startsWith("/docs/secret/")'}}]`, newRequest("GET", "/docs/secret"), "deny rule_deny p[1]"},
		{"denying condition written with a slash and a dot", `[{allow: {roles: [auditor]}}, {deny: {when: '["/docs/secret/"].exists(request, .request.path.startsWith(request))'}}]`, newRequest("GET", "/docs/secret"), "deny rule_deny p[1]"},
		{"denying condition for the end of a path", `[{allow: {roles: [auditor]}}, {deny: {when: 'request.path.endsWith("/")'}}]`, newRequest("GET", "/docs"), "allow rule_allow p[0]"},
		{"denying condition that excludes a path", `[{allow: {roles: [auditor]}}, {deny: {when: 'request.path != "/docs/open"'}}]`, newRequest("GET", "/docs/open"), "allow rule_allow p[0]"},
		{"allowing condition, with a slash", `[{allow: {when: 'request.path == "/docs/open"'}}]`, newRequest("GET", "/docs/open/"), "deny no_rule"},
		{"* in the middle", `[{allow: {roles: [auditor], paths: [/a/*/c]}}]`, newRequest("GET", "/a/b/c"), "allow rule_allow p[0]"},
		{"/ is the root alone", `[{allow: {roles: [auditor], paths: [/]}}]`, newRequest("GET", "/x"), "deny no_rule"},
		{"/** matches everything", `[{allow: {roles: [auditor], paths: [/**]}}]`, newRequest("GET", "/"), "allow rule_allow p[0]"},
		{"user by userName", `[{allow: {users: [alice@example.com]}}]`, newRequest("GET", "/"), "allow rule_allow p[0]"},
		{"user by externalId", `[{allow: {users: [oid-alice]}}]`, newRequest("GET", "/"), "allow rule_allow p[0]"},
		{"user in another case", `[{allow: {users: [Alice@example.com]}}]`, newRequest("GET", "/"), "deny no_rule"},
		{"trusted group name", `[{allow: {groups: [{name: name of x}]}}]`, newRequest("GET", "/", "x"), "allow rule_allow p[0]"},
		{"one of two parts matches", `[{allow: {users: [alice@example.com], roles: [owner]}}]`, newRequest("GET", "/"), "deny no_rule"},
		{"anyone, not signed in", `[{allow: {anyone: true, paths: [/public/**]}}]`, anonymous("GET", "/public/x"), "allow rule_allow p[0]"},
		{"anyone, elsewhere", `[{allow: {anyone: true, paths: [/public/**]}}]`, anonymous("GET", "/private/x"), "deny no_rule"},
		{"anyone, method denied", `[{allow: {anyone: true}}, {deny: {methods: [POST]}}]`, anonymous("POST", "/"), "deny rule_deny p[1]"},
		{"unless_groups does not exempt anonymous callers", `[{allow: {anyone: true}}, {deny: {paths: [/x], unless_groups: [{id: ` + sre + `}]}}]`, anonymous("GET", "/x"), "deny rule_deny p[1]"},
		{"condition is true", `[{allow: {roles: [auditor], when: 'request.time.getHours("UTC") < 20'}}]`, newRequest("GET", "/"), "allow rule_allow p[0]"},
		{"condition is false", `[{allow: {roles: [auditor], when: 'request.time.getHours("UTC") < 9'}}]`, newRequest("GET", "/"), "deny no_rule"},
		{"condition on attributes", `[{allow: {when: 'user.attributes.department == "Tools"'}}]`, newRequest("GET", "/"), "allow rule_allow p[0]"},
		{"failing condition does not allow", `[{allow: {when: 'user.attributes.nowhere == "x"'}}]`, newRequest("GET", "/"), "deny no_rule"},
		{"failing condition denies", `[{allow: {roles: [auditor]}}, {deny: {when: 'user.attributes.nowhere == "x"'}}]`, newRequest("GET", "/"), "deny rule_deny p[1]"},
		{"condition without boolean result does not allow", `[{allow: {when: 'user.attributes.department'}}]`, newRequest("GET", "/"), "deny no_rule"},
		{"condition does not allow anonymous callers", `[{allow: {when: 'true'}}]`, anonymous("GET", "/"), "deny no_rule"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := compile(t, c.rules).Decide(c.request)
			got := "deny"
			if d.Allow {
				got = "allow"
			}
			if got = strings.TrimSpace(fmt.Sprintf("%s %s %s", got, d.Reason, d.Rule)); got != c.want {
				t.Errorf("%s\n%+v\nis %q, want %q", c.rules, c.request, got, c.want)
			}
		})
	}
}

func TestReportMode_ReportsWithoutEnforcing(t *testing.T) {
	p := compile(t, `[{allow: {roles: [auditor]}}, {deny: {methods: [DELETE]}, mode: report}]`)
	if d := p.Decide(newRequest("DELETE", "/")); !d.Allow || d.Report == nil || d.Report.Allow || d.Report.Rule != "p[1]" {
		t.Errorf("decision is %+v, report %+v", d, d.Report)
	}
	if d := p.Decide(newRequest("GET", "/")); !d.Allow || d.Report != nil {
		t.Errorf("decision is %+v", d)
	}
	if open := compile(t, `[{allow: {anyone: true}, mode: report}]`); open.AllowsAnyone() || open.Decide(&policy.Request{Anonymous: true, Method: "GET", Path: "/"}).Allow {
		t.Error("a rule in report mode allows everybody")
	}
}

func TestPolicy_ListsItsGroups(t *testing.T) {
	p := compile(t, `[{allow: {groups: [{id: b, name: ignored}, {name: Staff}]}}, {deny: {unless_groups: [{id: a}, {id: b}, {name: Admins}]}}]`)
	if want := []string{"a", "b"}; !slices.Equal(p.GroupIDs(), want) {
		t.Errorf("GroupIDs() = %q, want %q", p.GroupIDs(), want)
	}
	if want := []string{"Admins", "Staff"}; !slices.Equal(p.GroupNames(), want) {
		t.Errorf("GroupNames() = %q, want %q", p.GroupNames(), want)
	}
}

func TestPolicy_AllowsAnyone(t *testing.T) {
	for rules, want := range map[string]bool{
		`[{allow: {roles: [x]}}, {allow: {anyone: true, paths: [/public/**]}}]`: true,
		`[{allow: {roles: [x]}}, {deny: {methods: [DELETE]}}]`:                  false,
		`[{allow: {anyone: true}, mode: report}]`:                               false,
	} {
		if got := compile(t, rules).AllowsAnyone(); got != want {
			t.Errorf("AllowsAnyone() = %v for %s", got, rules)
		}
	}
}

func TestMaxAuthAge_ReportsFirstOfEqualRules(t *testing.T) {
	p := compile(t, `[{allow: {roles: [auditor], max_auth_age: 1m}}, {allow: {roles: [auditor], max_auth_age: 1m}}]`)
	if d := p.Decide(newRequest("GET", "/")); d.Reason != policy.LoginTooOld || d.Rule != "p[0]" || d.Login.MaxAge != time.Minute {
		t.Errorf("decision is %+v", d)
	}
}

// TestMaxAuthAge: only a recent login at a known time matches; LoginTooOld is the
// reason only if everything else matches.
func TestMaxAuthAge(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	group := []policy.GroupRef{{ID: sre}}
	quarter := policy.Rule{Allow: &policy.Match{Groups: group, MaxAuthAge: 15 * time.Minute}}
	hour := policy.Rule{Allow: &policy.Match{Groups: group, MaxAuthAge: time.Hour}}
	deny := policy.Rule{Deny: &policy.Match{Groups: group}}
	for _, c := range []struct {
		name   string
		rules  []policy.Rule
		in     bool
		signed time.Time
		want   policy.Reason
		maxAge time.Duration
	}{
		{"recent", []policy.Rule{quarter}, true, now.Add(-14 * time.Minute), policy.RuleAllow, 0},
		{"just expired", []policy.Rule{quarter}, true, now.Add(-15 * time.Minute), policy.LoginTooOld, 15 * time.Minute},
		{"unknown time", []policy.Rule{quarter}, true, time.Time{}, policy.LoginTooOld, 15 * time.Minute},
		{"the oldest accepted login is reported", []policy.Rule{quarter, hour}, true, now.Add(-2 * time.Hour), policy.LoginTooOld, time.Hour},
		{"recent enough for one of two rules", []policy.Rule{quarter, hour}, true, now.Add(-30 * time.Minute), policy.RuleAllow, 0},
		{"not in the group", []policy.Rule{quarter}, false, time.Time{}, policy.NoRule, 0},
		{"denied anyway", []policy.Rule{quarter, deny}, true, time.Time{}, policy.RuleDeny, 0},
	} {
		p, err := policy.Compile([]policy.Named{{Name: "p", Rules: c.rules}}, policy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r := &policy.Request{UserName: "u", Method: "GET", Path: "/", Time: now, Authenticated: c.signed}
		if c.in {
			r.GroupIDs, r.GroupNames = []string{sre}, []string{"SRE"}
		}
		d := p.Decide(r)
		if d.Reason != c.want || d.Allow != (c.want == policy.RuleAllow) || (d.Login != nil) != (c.maxAge != 0) || d.Login != nil && d.Login.MaxAge != c.maxAge || d.Allow == d.Until.IsZero() {
			t.Errorf("%s gives %+v", c.name, d)
		}
	}
	for _, r := range []policy.Rule{{Allow: &policy.Match{Groups: group, MaxAuthAge: time.Second}}, {Allow: &policy.Match{Groups: group, MaxAuthAge: -time.Hour}},
		{Allow: &policy.Match{Anyone: true, MaxAuthAge: time.Hour}}, {Deny: &policy.Match{Groups: group, MaxAuthAge: time.Hour}}} {
		if _, err := policy.Compile([]policy.Named{{Name: "p", Rules: []policy.Rule{r}}}, policy.Options{}); err == nil {
			t.Errorf("%+v is accepted", r)
		}
	}
}
