package policy_test

import (
	"fmt"

	"sallyport/policy"
)

func Example() {
	const sre = "61503835-0000-0000-0000-000000000001"
	p, err := policy.Compile([]policy.Named{{Name: "sre", Rules: []policy.Rule{
		{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: sre, Name: "SRE"}}}},
	}}}, policy.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	d := p.Decide(&policy.Request{UserName: "alice@example.com", GroupIDs: []string{sre}, GroupNames: []string{"SRE"}, Method: "GET", Path: "/"})
	fmt.Println(d.Allow, d.Reason, d.Rule)
	// Output: true rule_allow sre[0]
}

// A rule that denies outweighs all rules that allow, and Reason and Rule say which it was.
func ExamplePolicy_Decide_denied() {
	p, err := policy.Compile([]policy.Named{{Name: "reports", Rules: []policy.Rule{
		{Allow: &policy.Match{Roles: []string{"auditor"}}},
		{Deny: &policy.Match{Methods: []string{"DELETE"}}},
	}}}, policy.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	req := &policy.Request{UserName: "alice@example.com", Roles: []string{"auditor"}, Method: "DELETE", Path: "/reports/q3"}
	d := p.Decide(req)
	fmt.Println(d.Allow, d.Reason, d.Rule)
	for _, step := range p.Explain(req) {
		fmt.Println(step.Rule, step.Effect, step.Matched)
	}
	// Output:
	// false rule_deny reports[1]
	// reports[0] allow true
	// reports[1] deny true
}

// Compile reports every fault at once, with its place in the configuration.
func ExampleCompile_faults() {
	_, err := policy.Compile([]policy.Named{{Name: "open", Rules: []policy.Rule{
		{Allow: &policy.Match{Methods: []string{"get"}}},
	}}}, policy.Options{})
	fmt.Println(err)
	// Output:
	// policies[0].rules[0].allow.methods[0]: "get" is not a method; methods are compared exactly, so write GET, POST and so on, or any alone for all of them
	// policies[0].rules[0].allow: names no apps, users, groups, all_groups, roles, reports_to, manager_of or attributes; name some, or write anyone: true to open it to all
}
