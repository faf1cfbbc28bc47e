package access_test

import (
	"fmt"
	"testing"

	"sallyport/access"
	"sallyport/directory"
	"sallyport/policy"
)

// BenchmarkWho asks who reaches any of the routes, each of which is for one group.
func BenchmarkWho(b *testing.B) {
	routes, users := company(b)
	for b.Loop() {
		if len(access.Who(routes, users, access.Scope{Time: now})) == 0 {
			b.Fatal("nobody reaches anything")
		}
	}
}

// BenchmarkDiff compares these rules with others, which differ for 20 of the routes.
func BenchmarkDiff(b *testing.B) {
	before, users := company(b)
	after, _ := company(b)
	for i := range 20 {
		after[i].Policy = before[i+1].Policy
	}
	for b.Loop() {
		if got := len(access.Diff(before, after, users, access.Scope{Time: now})); got != 20 {
			b.Fatalf("%d routes differ", got)
		}
	}
}

// company returns 200 routes, and 100,000 users in 20 of 1,000 groups each.
func company(b *testing.B) (routes []*access.Route, users []*directory.User) {
	b.Helper()
	group := func(i int) string { return fmt.Sprintf("61503835-0000-0000-0000-%012d", i%1000) }
	users = make([]*directory.User, 100_000)
	for i := range users {
		var groups []string
		for j := range 20 {
			groups = append(groups, group(i*7+j*13))
		}
		users[i] = person(fmt.Sprint("user", i), groups...)
	}
	for i := range 200 {
		p, err := policy.Compile([]policy.Named{{Name: "p", Rules: []policy.Rule{
			{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: group(i)}}}},
			{Deny: &policy.Match{Methods: []string{"DELETE"}, UnlessGroups: []policy.GroupRef{{ID: group(i + 1)}}}},
		}}}, policy.Options{})
		fatal(b, err)
		routes = append(routes, &access.Route{Name: fmt.Sprint("route", i), Session: true, Policy: p})
	}
	return routes, users
}
