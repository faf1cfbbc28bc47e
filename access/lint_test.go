package access_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"sallyport/access"
	"sallyport/directory"
	"sallyport/policy"
)

func TestLint(t *testing.T) {
	ada, bob := person("ada", "id-sre"), person("bob", "id-sre")
	ada.GroupNames = []string{"SRE"}
	ada.Document = []byte(`{"title": "Engineer"}`)
	groups := []directory.Group{{ID: "1", ExternalID: "id-sre", DisplayName: "SRE", Members: 2}, {ID: "2", ExternalID: "id-empty", DisplayName: "Empty"}}
	for name, c := range map[string]struct{ rules, path, want string }{
		"nothing_odd":         {`[{allow: {users: [ada@example.com]}}]`, "/", ""},
		"never_pushed":        {`[{allow: {users: [ada@example.com], unless_groups: [{id: gone}]}}]`, "/", "policies[0].rules[0].allow.unless_groups[0]: the group was never pushed"},
		"another_id":          {`[{deny: {groups: [{id: gone, name: SRE}]}}, {allow: {users: [ada@example.com]}}]`, "/", "policies[0].rules[0].deny.groups[0]: no group with the id gone was pushed; the group that is called SRE has the id id-sre"},
		"renamed":             {`[{allow: {users: [ada@example.com], groups: [{id: id-sre, name: Ops}]}}]`, "/", `groups[0]: the group is called "SRE" now; write name: SRE`},
		"empty":               {`[{allow: {users: [ada@example.com]}}, {allow: {all_groups: [{id: id-sre}, {id: id-empty}]}}]`, "/", "policies[0].rules[1].allow.all_groups[1]: the group Empty has no members"},
		"unknown_user":        {`[{allow: {users: [ada@example.com, adda@example.com]}}]`, "/", "allow.users[1]: nobody who was pushed has the userName or externalId \"adda@example.com\""},
		"unknown_manager":     {`[{allow: {users: [ada@example.com]}}, {deny: {reports_to: [x]}}]`, "/", "policies[0].rules[1].deny.reports_to[0]: nobody"},
		"unknown_attribute":   {`[{allow: {users: [ada@example.com], when: 'user.attributes.titel == "x"'}}]`, "/", "allow.when: no user was pushed with the attribute titel; did you mean title?"},
		"known_attribute":     {`[{allow: {users: [ada@example.com], when: 'user.attributes["title"] == "Engineer"'}}]`, "/", ""},
		"nobody":              {`[{allow: {users: [ada@example.com]}}, {deny: {}}]`, "/", "routes[0].policy: nobody who was pushed, and no application, reaches route app"},
		"everybody":           {`[{allow: {groups: [{id: id-sre}]}}]`, "/", "routes[0].policy: every user reaches route app"},
		"anyone":              {`[{allow: {anyone: true}}]`, "/", "routes[0].policy: anyone reaches route app"},
		"paths_elsewhere":     {`[{allow: {users: [ada@example.com]}}, {allow: {users: [ada@example.com], paths: [/reports/*, /x]}}]`, "/orders", "policies[0].rules[1].allow.paths: no route with policy p has such paths"},
		"paths_below":         {`[{allow: {users: [ada@example.com], paths: [/orders/*]}}]`, "/orders", ""},
		"paths_with_wildcard": {`[{allow: {users: [ada@example.com], paths: [/*/x]}}]`, "/orders", ""},
		"paths_above":         {`[{allow: {users: [ada@example.com], paths: [/**]}}]`, "/orders", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := route(t, "app", c.rules)
			r.Path = c.path
			named := policy.Named{Name: "p"}
			fatal(t, yaml.Unmarshal([]byte(c.rules), &named.Rules))
			var got []string
			for _, f := range access.Lint(access.Subject{Policies: []policy.Named{named}, Routes: []*access.Route{r}, Uses: [][]string{{"p"}},
				Groups: groups, Users: []*directory.User{ada, bob}, Scope: access.Scope{Time: now}}) {
				got = append(got, f.Path+": "+f.Problem)
			}
			if c.want == "" && len(got) > 0 || !slices.ContainsFunc(append(got, ""), func(text string) bool { return strings.Contains(text, c.want) }) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestLint_FindsUnusedPolicies(t *testing.T) {
	findings := access.Lint(access.Subject{Policies: []policy.Named{{Name: "spare"}}})
	if got := fmt.Sprint(findings); !strings.Contains(got, "no route uses policy spare") {
		t.Error(got)
	}
}
