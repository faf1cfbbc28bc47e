package policy_test

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"sallyport/policy"
)

func TestCompile_RejectsMistakes(t *testing.T) {
	for rules, want := range map[string]string{
		`[{}]`:                        "exactly one of allow and deny",
		`[{allow: {}}]`:               "anyone: true",
		`[{allow: {methods: [GET]}}]`: "names no apps, users, groups or roles",
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
			p.Decide(newRequest("GET", "/a/b", sre))
		}
	})
}
