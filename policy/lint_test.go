package policy_test

import (
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"sallyport/policy"
)

func warnings(t *testing.T, rules string, now time.Time) (list []string) {
	t.Helper()
	n := policy.Named{Name: "p"}
	if err := yaml.Unmarshal([]byte(rules), &n.Rules); err != nil {
		t.Fatal(err)
	}
	n.Warn(now, func(path, problem string) { list = append(list, path+": "+problem) })
	return list
}

func TestNamed_Warn(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	const void, superfluous = "the rule lets nobody in: ", "the rule makes no difference: "
	for name, c := range map[string]struct{ rules, want string }{
		"nothing":                     {`[{allow: {groups: [{id: a}]}}, {allow: {groups: [{id: b}]}}, {deny: {methods: [PUT]}}]`, ""},
		"ended":                       {`[{allow: {roles: [a]}, until: 2026-11-27}]`, "rules[0].until: the rule ended at 2026-11-28T00:00:00Z"},
		"ends_soon":                   {`[{allow: {roles: [a]}, until: 2026-12-11}]`, "rules[0].until: the rule ends in 13 days, at 2026-12-12T00:00:00Z"},
		"ends_later":                  {`[{allow: {roles: [a]}, until: 2026-12-12}]`, ""},
		"same_rule_twice":             {`[{allow: {roles: [a]}}, {allow: {roles: [a]}}]`, "rules[1]: " + superfluous + "p[0] allows"},
		"fewer_groups":                {`[{allow: {groups: [{id: a}]}}, {allow: {groups: [{id: b}, {id: a}]}}]`, "rules[0]: " + superfluous + "p[1] allows"},
		"more_conditions":             {`[{allow: {groups: [{id: a}]}}, {allow: {groups: [{id: a}], paths: [/x], hours: {to: '08:00'}, when: 'true', max_auth_age: 1h}}]`, "rules[1]: " + superfluous},
		"usual_methods":               {`[{allow: {groups: [{id: a}]}}, {allow: {groups: [{id: a}], methods: [PUT]}}]`, "rules[1]: " + superfluous},
		"unusual_method":              {`[{allow: {groups: [{id: a}]}}, {allow: {groups: [{id: a}], methods: [PROPFIND]}}]`, ""},
		"any_method":                  {`[{allow: {groups: [{id: a}], methods: [any]}}, {allow: {groups: [{id: a}], methods: [PROPFIND]}}]`, "rules[1]: " + superfluous},
		"another_condition":           {`[{allow: {groups: [{id: a}], when: 'true'}}, {allow: {groups: [{id: a}], when: 'false'}}]`, ""},
		"longer_login":                {`[{allow: {groups: [{id: a}], max_auth_age: 1h}}, {allow: {groups: [{id: a}], max_auth_age: 2h}}]`, "rules[0]: " + superfluous},
		"all_groups":                  {`[{allow: {all_groups: [{id: a}]}}, {allow: {all_groups: [{id: a}, {id: b}]}}]`, "rules[1]: " + superfluous},
		"unless_groups":               {`[{deny: {unless_groups: [{id: a}, {id: b}]}}, {deny: {unless_groups: [{id: a}]}}]`, "rules[0]: " + superfluous + "p[1] denies"},
		"attributes":                  {`[{allow: {attributes: {title: [a, b]}}}, {allow: {attributes: {title: [a], userType: [c]}}}]`, "rules[1]: " + superfluous},
		"anyone":                      {`[{allow: {anyone: true}}, {allow: {roles: [a]}}]`, "rules[1]: " + superfluous},
		"applications_are_not_users":  {`[{allow: {roles: [a]}}, {allow: {apps: [x], roles: [a]}}]`, ""},
		"anyone_beside_signed_in":     {`[{allow: {when: 'true'}}, {allow: {anyone: true}}]`, "rules[0]: " + superfluous},
		"denied_wholly":               {`[{allow: {groups: [{id: a}], paths: [/x]}}, {deny: {paths: [/x]}}]`, "rules[0]: " + void + "p[1] denies"},
		"denied_in_part":              {`[{allow: {groups: [{id: a}]}}, {deny: {paths: [/x]}}]`, ""},
		"denied_for_every_method":     {`[{allow: {groups: [{id: a}], methods: [PUT]}}, {deny: {methods: [any]}}]`, "rules[0]: " + void},
		"denied_for_some_methods":     {`[{allow: {groups: [{id: a}]}}, {deny: {methods: [PUT]}}]`, ""},
		"report_mode_counts_for_none": {`[{allow: {roles: [a]}}, {allow: {roles: [a]}, mode: report}]`, ""},
		"a_rule_that_ends_first":      {`[{allow: {roles: [a]}, until: 2030-01-01}, {allow: {roles: [a]}}]`, "rules[0]: " + superfluous},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(warnings(t, c.rules, now), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestWarn_IsTrue: a rule of which is said that it makes no difference, or lets nobody
// in, makes none: without it, every request is decided alike.
func TestWarn_IsTrue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, req := someRules(false).Draw(t, "rules"), someRequest(t)
		superfluous := -1
		policy.Named{Name: "p", Rules: rules}.Warn(req.Time, func(path, _ string) {
			superfluous = int(path[len("rules[")] - '0')
		})
		if superfluous < 0 {
			return
		}
		rest := append(append([]policy.Rule{}, rules[:superfluous]...), rules[superfluous+1:]...)
		if decide(t, rules, req).Allow != decide(t, rest, req).Allow {
			t.Fatalf("rule %d makes a difference", superfluous)
		}
	})
}
