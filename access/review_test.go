package access_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/access"
	"sallyport/directory"
)

// group returns a group that has its name as id and as externalId too.
func group(name string, members int) directory.Group {
	return directory.Group{ID: "id-" + name, ExternalID: name, DisplayName: name, Members: members}
}

func TestReviewRows(t *testing.T) {
	groups := []directory.Group{group("SRE", 10), group("Ops", 3), group("Staff", 1000), {ID: "id-Local", DisplayName: "Local", Members: 2}}
	suspended := person("sue", "SRE")
	suspended.Suspended = &directory.Suspension{}
	local := person("lou", "Local")
	local.GroupIDs = []string{""}
	people := []*directory.User{person("ada", "Ops", "SRE", "Staff"), person("bob", "Staff"), local, suspended}
	last := &access.LastUse{Route: "app"}
	for i, r := range []access.Recorded{
		{User: "id-ada", Route: "app", Rule: "p[0]", Allow: true},
		{User: "id-ada", Route: "app", Rule: "p[0]", Allow: true},
		{User: "id-ada", Route: "app", Rule: "p[0]", Reason: "no_rule"},
		{User: "id-bob", Route: "other", Rule: "p[0]", Allow: true},
		{User: "", Name: "app:robot", Route: "app", Rule: "p[0]", Allow: true},
	} {
		r.Time = now.Add(time.Duration(i) * time.Minute)
		last.Add(r)
	}
	for _, c := range []struct {
		name, rules string
		want        []string // user, rule, groups
	}{
		{"every_group_of_groups", `[{allow: {groups: [{id: SRE}, {name: Ops}, {id: Gone}]}}]`, []string{"ada p[0] SRE Ops"}},
		{"smallest_of_all_groups", `[{allow: {all_groups: [{id: Staff}, {id: SRE}, {id: Ops}]}}]`, []string{"ada p[0] Ops"}},
		{"groups_before_all_groups", `[{allow: {groups: [{id: SRE}], all_groups: [{id: Staff}, {id: Ops}]}}]`, []string{"ada p[0] SRE"}},
		{"group_without_id", `[{allow: {groups: [{name: Local}]}}]`, []string{"lou p[0] Local"}},
		{"named_twice", `[{allow: {groups: [{id: Ops}, {name: Ops}]}}]`, []string{"ada p[0] Ops"}},
		{"a_row_for_each_rule", `[{allow: {groups: [{id: SRE}], methods: [GET]}}, {allow: {groups: [{id: Staff}], paths: [/x]}}]`, []string{"ada p[0] SRE", "ada p[1] Staff", "bob p[1] Staff"}},
		{"no_membership", `[{allow: {users: [bob@example.com]}}]`, []string{"bob p[0]"}},
		{"anyone", `[{allow: {anyone: true}}]`, []string{"ada p[0]", "bob p[0]", "lou p[0]"}},
		{"denied", `[{allow: {groups: [{id: Staff}]}}, {deny: {groups: [{id: SRE}]}}]`, []string{"bob p[0] Staff"}},
		{"denied_something", `[{allow: {groups: [{id: Staff}]}}, {deny: {groups: [{id: SRE}], methods: [PUT]}}]`, []string{"ada p[0] Staff", "bob p[0] Staff"}},
		{"report_mode", `[{allow: {groups: [{id: Staff}]}, mode: report}]`, nil},
		{"ended", `[{allow: {groups: [{id: Staff}]}, until: 2020-01-01}]`, nil},
		{"applications", `[{allow: {apps: [robot]}}]`, nil},
		{"excepted", `[{allow: {groups: [{id: Staff}], unless_groups: [{id: SRE}]}}]`, []string{"bob p[0] Staff"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rules, rows := access.ReviewRows(route(t, "app", c.rules), people, groups, access.Scope{Time: now}, last)
			var got []string
			for _, r := range rows {
				text := strings.TrimSuffix(r.User.UserName, "@example.com") + " " + r.Rule
				for _, g := range r.Groups {
					text += " " + g.DisplayName
				}
				got = append(got, text)
				if used := r.User.ID == "id-ada" && r.Rule == "p[0]"; used != r.LastUse.Equal(now.Add(time.Minute)) || !used && !r.LastUse.IsZero() {
					t.Errorf("%s was used at %s", text, r.LastUse)
				}
				if !slices.ContainsFunc(rules, func(rule access.RuleText) bool { return rule.Name == r.Rule }) {
					t.Errorf("%s is not among the rules %+v", r.Rule, rules)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("the rows are %q, want %q", got, c.want)
			}
		})
	}
}

func TestReviewRows_TextOfRules(t *testing.T) {
	r := route(t, "app", `[{allow: {groups: [{id: SRE, name: Site Reliability}], methods: [GET, HEAD]}}, {allow: {users: [eve@example.com]}}]`)
	rules, _ := access.ReviewRows(r, []*directory.User{person("ada", "SRE")}, []directory.Group{group("SRE", 1)}, access.Scope{Time: now}, nil)
	if got := fmt.Sprint(rules); got != "[{p[0] allow: methods GET, HEAD; groups Site Reliability}]" {
		t.Errorf("the rules are %s", got)
	}
}
