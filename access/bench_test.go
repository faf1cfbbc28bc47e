package access_test

import (
	"fmt"
	"testing"

	"sallyport/access"
	"sallyport/directory"
	"sallyport/policy"
)

// BenchmarkWho asks who reaches any of 200 routes, among 100,000 users in 20 groups each.
// Each route is for one of 1,000 groups.
func BenchmarkWho(b *testing.B) {
	group := func(i int) string { return fmt.Sprintf("61503835-0000-0000-0000-%012d", i%1000) }
	users := make([]*directory.User, 100_000)
	for i := range users {
		var groups []string
		for j := range 20 {
			groups = append(groups, group(i*7+j*13))
		}
		users[i] = person(fmt.Sprint("user", i), groups...)
	}
	var routes []*access.Route
	for i := range 200 {
		p, err := policy.Compile([]policy.Named{{Name: "p", Rules: []policy.Rule{
			{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: group(i)}}}},
			{Deny: &policy.Match{Methods: []string{"DELETE"}, UnlessGroups: []policy.GroupRef{{ID: group(i + 1)}}}},
		}}}, policy.Options{})
		fatal(b, err)
		routes = append(routes, &access.Route{Name: fmt.Sprint("route", i), Session: true, Policy: p})
	}
	for b.Loop() {
		if len(access.Who(routes, users, access.Scope{Time: now})) == 0 {
			b.Fatal("nobody reaches anything")
		}
	}
}
