package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"sallyport/policy"
)

func manyGroups(n int) []string {
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

func TestDecide_DoesNotAllocate(t *testing.T) {
	p, r := bigPolicy(t), newRequest("GET", "/a/b", manyGroups(20)...)
	if n := testing.AllocsPerRun(1000, func() { p.Decide(r) }); n != 0 {
		t.Errorf("Decide allocates %v times", n)
	}
}

// BenchmarkDecide decides with 21 rules for a user in 20 groups.
func BenchmarkDecide(b *testing.B) {
	p, r := bigPolicy(b), newRequest("GET", "/a/b", manyGroups(20)...)
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(r)
	}
}
