package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

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

// ask is a request of a user in groups, at noon UTC.
func ask(method, path string, groups ...string) *policy.Request {
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

// TestDecisions is for whoever reviews access: rules, request, answer.
func TestDecisions(t *testing.T) {
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
		{"no rules", `[{deny: {methods: [PUT]}}]`, ask("GET", "/", sre), "deny no_rule"},
		{"a member passes", sreRule, ask("GET", "/", sre), "allow rule_allow p[0]"},
		{"a stranger does not", sreRule, ask("GET", "/", admins), "deny no_rule"},
		{"somebody in no group does not", sreRule, ask("GET", "/"), "deny no_rule"},
		{"nobody signed in does not", sreRule, anonymous("GET", "/"), "deny no_rule"},
		{"a group's name is not its id", sreRule, ask("GET", "/", "SRE"), "deny no_rule"},
		{"an unusual method must be named", sreRule, ask("TRACE", "/", sre), "deny no_rule"},
		{"a method in lower case is another", sreRule, ask("get", "/", sre), "deny no_rule"},
		{"a named unusual method passes", `[{allow: {roles: [auditor], methods: [PROPFIND]}}]`, ask("PROPFIND", "/"), "allow rule_allow p[0]"},
		{"deny outweighs allow", writesByAdmins, ask("DELETE", "/x", sre), "deny rule_deny p[1]"},
		{"deny spares its exception", writesByAdmins, ask("DELETE", "/x", sre, admins), "allow rule_allow p[0]"},
		{"deny is about its methods", writesByAdmins, ask("GET", "/x", sre), "allow rule_allow p[0]"},
		{"deny first is the same", `[{deny: {groups: [{id: ` + contractor + `}]}}, {allow: {groups: [{id: ` + sre + `}]}}]`, ask("GET", "/", sre, contractor), "deny rule_deny p[0]"},
		{"one segment", reports, ask("GET", "/reports/q3"), "allow rule_allow p[0]"},
		{"not two segments", reports, ask("GET", "/reports/q3/raw"), "deny no_rule"},
		{"not the parent", reports, ask("GET", "/reports"), "deny no_rule"},
		{"not an empty segment", reports, ask("GET", "/reports/"), "deny no_rule"},
		{"not a longer name", reports, ask("GET", "/reportsx/q3"), "deny no_rule"},
		{"not another method", reports, ask("POST", "/reports/q3"), "deny no_rule"},
		{"any depth", `[{allow: {roles: [auditor], paths: [/a/**]}}]`, ask("GET", "/a/b/c"), "allow rule_allow p[0]"},
		{"any depth begins at the path itself", `[{allow: {roles: [auditor], paths: [/a/**]}}]`, ask("GET", "/a"), "allow rule_allow p[0]"},
		{"and with its slash", `[{allow: {roles: [auditor], paths: [/a/**]}}]`, ask("GET", "/a/"), "allow rule_allow p[0]"},
		{"but not at a longer name", `[{allow: {roles: [auditor], paths: [/a/**]}}]`, ask("GET", "/ab"), "deny no_rule"},
		{"a denied tree includes its root", `[{allow: {roles: [auditor]}}, {deny: {paths: [/secret/**]}}]`, ask("GET", "/secret"), "deny rule_deny p[1]"},
		{"a star in the middle", `[{allow: {roles: [auditor], paths: [/a/*/c]}}]`, ask("GET", "/a/b/c"), "allow rule_allow p[0]"},
		{"the root alone", `[{allow: {roles: [auditor], paths: [/]}}]`, ask("GET", "/x"), "deny no_rule"},
		{"everything", `[{allow: {roles: [auditor], paths: [/**]}}]`, ask("GET", "/"), "allow rule_allow p[0]"},
		{"a user by userName", `[{allow: {users: [alice@example.com]}}]`, ask("GET", "/"), "allow rule_allow p[0]"},
		{"a user by externalId", `[{allow: {users: [oid-alice]}}]`, ask("GET", "/"), "allow rule_allow p[0]"},
		{"a user in another case is another", `[{allow: {users: [Alice@example.com]}}]`, ask("GET", "/"), "deny no_rule"},
		{"a trusted group name", `[{allow: {groups: [{name: name of x}]}}]`, ask("GET", "/", "x"), "allow rule_allow p[0]"},
		{"every part must match", `[{allow: {users: [alice@example.com], roles: [owner]}}]`, ask("GET", "/"), "deny no_rule"},
		{"anyone, not signed in", `[{allow: {anyone: true, paths: [/public/**]}}]`, anonymous("GET", "/public/x"), "allow rule_allow p[0]"},
		{"anyone, elsewhere", `[{allow: {anyone: true, paths: [/public/**]}}]`, anonymous("GET", "/private/x"), "deny no_rule"},
		{"anyone, denied a method", `[{allow: {anyone: true}}, {deny: {methods: [POST]}}]`, anonymous("POST", "/"), "deny rule_deny p[1]"},
		{"unless_groups holds for nobody", `[{allow: {anyone: true}}, {deny: {paths: [/x], unless_groups: [{id: ` + sre + `}]}}]`, anonymous("GET", "/x"), "deny rule_deny p[1]"},
		{"a condition that is true", `[{allow: {roles: [auditor], when: 'request.time.getHours("UTC") < 20'}}]`, ask("GET", "/"), "allow rule_allow p[0]"},
		{"a condition that is false", `[{allow: {roles: [auditor], when: 'request.time.getHours("UTC") < 9'}}]`, ask("GET", "/"), "deny no_rule"},
		{"a condition on attributes", `[{allow: {when: 'user.attributes.department == "Tools"'}}]`, ask("GET", "/"), "allow rule_allow p[0]"},
		{"a failing condition allows nobody", `[{allow: {when: 'user.attributes.nowhere == "x"'}}]`, ask("GET", "/"), "deny no_rule"},
		{"a failing condition denies everybody", `[{allow: {roles: [auditor]}}, {deny: {when: 'user.attributes.nowhere == "x"'}}]`, ask("GET", "/"), "deny rule_deny p[1]"},
		{"a condition that is no boolean allows nobody", `[{allow: {when: 'user.attributes.department'}}]`, ask("GET", "/"), "deny no_rule"},
		{"a condition is not for nobody", `[{allow: {when: 'true'}}]`, anonymous("GET", "/"), "deny no_rule"},
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

func TestReportModeChangesNothingAndSaysWhatItWould(t *testing.T) {
	p := compile(t, `[{allow: {roles: [auditor]}}, {deny: {methods: [DELETE]}, mode: report}]`)
	if d := p.Decide(ask("DELETE", "/")); !d.Allow || d.Report == nil || d.Report.Allow || d.Report.Rule != "p[1]" {
		t.Errorf("decision is %+v, report %+v", d, d.Report)
	}
	if d := p.Decide(ask("GET", "/")); !d.Allow || d.Report != nil {
		t.Errorf("decision is %+v", d)
	}
	if open := compile(t, `[{allow: {anyone: true}, mode: report}]`); open.AllowsAnyone() || open.Decide(&policy.Request{Anonymous: true, Method: "GET", Path: "/"}).Allow {
		t.Error("a rule in report mode lets everybody in")
	}
}

func TestWhatCannotBeMeantIsRefused(t *testing.T) {
	for rules, want := range map[string]string{
		`[{}]`:                        "exactly one of allow and deny",
		`[{allow: {}}]`:               "anyone: true",
		`[{allow: {methods: [GET]}}]`: "names no groups, users, apps or roles",
		`[{allow: {groups: [{id: x}]}, deny: {methods: [GET]}}]`: "exactly one of allow and deny",
		`[{allow: {groups: [{}]}}]`:                              "names no group",
		`[{allow: {groups: [{name: Admins}]}}]`:                  "trust_group_names",
		`[{allow: {anyone: true, groups: [{id: x}]}}]`:           "is for everybody",
		`[{allow: {anyone: true, when: 'user.id == "1"'}}]`:      "not be signed in",
		`[{allow: {roles: [x], methods: [get]}}]`:                "methods are compared exactly",
		`[{allow: {roles: [x], paths: [reports]}}]`:              "does not begin with /",
		`[{allow: {roles: [x], paths: ['/a*']}}]`:                "one whole segment",
		`[{allow: {roles: [x], paths: [/**/a]}}]`:                "only at the end",
		`[{allow: {roles: [x], paths: [/a/../b]}}]`:              "dot segment",
		`[{allow: {roles: [x], when: 'request.nope('}}]`:         "is not a condition",
		`[{allow: {roles: [x], when: '1 + 1'}}]`:                 "true or false",
		`[{allow: {roles: [x]}, mode: dry-run}]`:                 "write report",
		`[{deny: {anyone: true}}]`:                               "means nothing in a deny rule",
	} {
		var written []policy.Rule
		if err := yaml.Unmarshal([]byte(rules), &written); err != nil {
			t.Fatal(err)
		}
		_, err := policy.Compile([]policy.Named{{Name: "p", Rules: written}}, policy.Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", rules, err, want)
		}
	}
}

// someRules draws rules over three groups, few methods and paths.
func someRules(allowOnly bool) *rapid.Generator[[]policy.Rule] {
	return rapid.Custom(func(t *rapid.T) []policy.Rule {
		return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) policy.Rule {
			m := &policy.Match{Groups: []policy.GroupRef{{ID: rapid.SampledFrom([]string{sre, admins, contractor}).Draw(t, "group")}}}
			if rapid.Bool().Draw(t, "by method") {
				m.Methods = []string{rapid.SampledFrom([]string{"GET", "POST"}).Draw(t, "method")}
			}
			if rapid.Bool().Draw(t, "by path") {
				m.Paths = []string{rapid.SampledFrom([]string{"/", "/a", "/*", "/a/**"}).Draw(t, "path")}
			}
			if !allowOnly && rapid.Bool().Draw(t, "deny") {
				return policy.Rule{Deny: m}
			}
			return policy.Rule{Allow: m}
		}), 0, 6).Draw(t, "rules")
	})
}

func someRequest(t *rapid.T) *policy.Request {
	groups := rapid.SliceOfDistinct(rapid.SampledFrom([]string{sre, admins, contractor}), rapid.ID[string]).Draw(t, "groups")
	return ask(rapid.SampledFrom([]string{"GET", "POST"}).Draw(t, "method"), rapid.SampledFrom([]string{"/", "/a", "/a/b", "/b"}).Draw(t, "path"), groups...)
}

func decide(t *rapid.T, rules []policy.Rule, r *policy.Request) policy.Decision {
	if len(rules) == 0 {
		return (&policy.Policy{}).Decide(r)
	}
	p, err := policy.Compile([]policy.Named{{Name: "p", Rules: rules}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p.Decide(r)
}

func TestNoRuleNoWayIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, r := someRules(false).Draw(t, "rules"), someRequest(t)
		denies := slices.DeleteFunc(slices.Clone(rules), func(r policy.Rule) bool { return r.Allow != nil })
		if decide(t, denies, r).Allow {
			t.Fatalf("allowed by %+v, none of which allows", denies)
		}
	})
}

func TestFewerGroupsNeverGainAccessUnderAllowRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, r := someRules(true).Draw(t, "rules"), someRequest(t)
		if len(r.GroupIDs) == 0 || decide(t, rules, r).Allow {
			return
		}
		fewer := *r
		fewer.GroupIDs = r.GroupIDs[1:]
		if decide(t, rules, &fewer).Allow {
			t.Fatalf("losing %s opened the door", r.GroupIDs[0])
		}
	})
}

func TestOneMoreDenyNeverAllows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, r := someRules(false).Draw(t, "rules"), someRequest(t)
		more := someRules(true).Draw(t, "more")
		for i := range more {
			more[i].Allow, more[i].Deny = nil, more[i].Allow
		}
		if decide(t, slices.Concat(rules, more), r).Allow && !decide(t, rules, r).Allow {
			t.Fatal("a deny rule opened the door")
		}
	})
}

func TestTheOrderOfRulesDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, r := someRules(false).Draw(t, "rules"), someRequest(t)
		back := slices.Clone(rules)
		slices.Reverse(back)
		if decide(t, rules, r).Allow != decide(t, back, r).Allow {
			t.Fatal("the order decides")
		}
	})
}

func TestTheTraceAgreesWithTheDecision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, r := someRules(false).Draw(t, "rules"), someRequest(t)
		if len(rules) == 0 {
			return
		}
		p, err := policy.Compile([]policy.Named{{Name: "p", Rules: rules}}, policy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		allowed, denied := false, false
		for _, s := range p.Explain(r) {
			allowed = allowed || s.Matched && s.Effect == "allow"
			denied = denied || s.Matched && s.Effect == "deny"
		}
		if p.Decide(r).Allow != (allowed && !denied) {
			t.Fatalf("the trace is %+v", p.Explain(r))
		}
	})
}

func crowd(n int) []string {
	groups := make([]string, n)
	for i := range groups {
		groups[i] = fmt.Sprintf("61503835-0000-0000-0000-0000000000%02d", i)
	}
	return groups
}

func bigPolicy(t testing.TB) *policy.Policy {
	var rules strings.Builder
	for i := range 20 {
		fmt.Fprintf(&rules, "- {allow: {groups: [{id: 7150383%d-0000-0000-0000-000000000001}], paths: [/a/**]}}\n", i%10)
	}
	fmt.Fprintf(&rules, "- {allow: {groups: [{id: %s}]}}\n", sre)
	return compile(t, rules.String())
}

func TestDecideDoesNotAllocate(t *testing.T) {
	p, r := bigPolicy(t), ask("GET", "/a/b", crowd(20)...)
	if n := testing.AllocsPerRun(1000, func() { p.Decide(r) }); n != 0 {
		t.Errorf("Decide allocates %v times", n)
	}
}

// BenchmarkDecide decides with 21 rules for a user in 20 groups.
func BenchmarkDecide(b *testing.B) {
	p, r := bigPolicy(b), ask("GET", "/a/b", crowd(20)...)
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(r)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(`[{allow: {groups: [{id: x}], paths: [/a/*], when: 'request.path == "/"'}}]`)
	f.Add(`[{deny: {methods: [GET]}, mode: report}]`)
	f.Add(`[{allow: {when: 'user.attributes.a.b[0] == 1'}}]`)
	f.Fuzz(func(t *testing.T, rules string) {
		var written []policy.Rule
		if yaml.Unmarshal([]byte(rules), &written) != nil {
			return
		}
		p, err := policy.Compile([]policy.Named{{Name: "p", Rules: written}}, policy.Options{})
		if err == nil {
			p.Decide(ask("GET", "/a/b", sre))
		}
	})
}

// TestMaxAuthAge: a recent login counts, an old one or one of an unknown time does
// not; and it is told only where nothing else is missing.
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
		{"at the end", []policy.Rule{quarter}, true, now.Add(-15 * time.Minute), policy.LoginTooOld, 15 * time.Minute},
		{"unknown", []policy.Rule{quarter}, true, time.Time{}, policy.LoginTooOld, 15 * time.Minute},
		{"the least that helps is told", []policy.Rule{quarter, hour}, true, now.Add(-2 * time.Hour), policy.LoginTooOld, time.Hour},
		{"one of two", []policy.Rule{quarter, hour}, true, now.Add(-30 * time.Minute), policy.RuleAllow, 0},
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
		if d.Reason != c.want || d.Allow != (c.want == policy.RuleAllow) || d.MaxAge != c.maxAge || d.Allow == d.Until.IsZero() {
			t.Errorf("%s gives %+v", c.name, d)
		}
	}
	for _, r := range []policy.Rule{{Allow: &policy.Match{Groups: group, MaxAuthAge: time.Second}}, {Allow: &policy.Match{Groups: group, MaxAuthAge: -time.Hour}},
		{Allow: &policy.Match{Anyone: true, MaxAuthAge: time.Hour}}, {Deny: &policy.Match{Groups: group, MaxAuthAge: time.Hour}}} {
		if _, err := policy.Compile([]policy.Named{{Name: "p", Rules: []policy.Rule{r}}}, policy.Options{}); err == nil {
			t.Errorf("%+v is taken", r)
		}
	}
}

// TestAnApplicationComesInByItsIDAlone, whatever else the rules allow, and whatever
// roles it has.
func TestAnApplicationComesInByItsIDAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := someRules(false).Draw(t, "rules")
		for i := range rules {
			if m := rules[i].Allow; m != nil {
				m.Anyone = false
			}
		}
		rules = append(rules, policy.Rule{Allow: &policy.Match{Roles: []string{"role"}}}, policy.Rule{Allow: &policy.Match{When: "true"}})
		p, err := policy.Compile([]policy.Named{{Name: "p", Rules: rules}}, policy.Options{})
		if err != nil {
			t.Skip(err)
		}
		r := &policy.Request{App: "robot", Roles: []string{"role"}, Method: "GET", Path: "/", Time: time.Now()}
		if d := p.Decide(r); d.Allow {
			t.Fatalf("%+v lets an application in", d)
		}
	})
	rule := policy.Rule{Allow: &policy.Match{Apps: []string{"robot"}}}
	p, err := policy.Compile([]policy.Named{{Name: "p", Rules: []policy.Rule{rule}}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for app, want := range map[string]bool{"robot": true, "Robot": false, "robot2": false, "": false} {
		if d := p.Decide(&policy.Request{App: app, UserName: "robot", Method: "GET", Path: "/"}); d.Allow != want {
			t.Errorf("%q gives %+v", app, d)
		}
	}
	for _, m := range []*policy.Match{{Apps: []string{"a"}, Users: []string{"u"}}, {Apps: []string{"a"}, Groups: []policy.GroupRef{{ID: sre}}}, {Apps: []string{""}}, {Apps: []string{"a"}, Anyone: true}} {
		if _, err := policy.Compile([]policy.Named{{Name: "p", Rules: []policy.Rule{{Allow: m}}}}, policy.Options{}); err == nil {
			t.Errorf("%+v is taken", m)
		}
	}
}
