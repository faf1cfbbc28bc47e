package policy_test

import (
	"fmt"
	"slices"
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

// groupID returns the ID of a group.
func groupID(i int) policy.GroupRef {
	return policy.GroupRef{ID: fmt.Sprintf("61503835-0000-0000-%04d-%012d", i%7, i)}
}

// inGroups returns a request of a user who is in every fifth of the first 1,000 groups.
func inGroups(method, path string) *policy.Request {
	var ids []string
	for i := range 200 {
		ids = append(ids, groupID(5*i).ID)
	}
	r := member("ada", ids...)
	req := r.get(path)
	req.Method, req.Host = method, "app.example.com"
	return req
}

// shape is a kind of rules: n of them, and a request that they decide.
type shape struct {
	name  string
	rule  func(i, n int) policy.Rule
	req   func() *policy.Request
	allow bool
}

func allowed(m policy.Match) policy.Rule { return policy.Rule{Allow: &m} }

func groupsOf(i int) []policy.GroupRef { return []policy.GroupRef{groupID(i)} }

// shapes are rules among which the last one decides, or none: each rule but the last is for a group that the user is not in, or
// for another path or method.
var shapes = []shape{
	{"groups", func(i, n int) policy.Rule {
		if i == n-1 {
			return allowed(policy.Match{Groups: groupsOf(0)})
		}
		return allowed(policy.Match{Groups: groupsOf(5*i + 1)})
	}, func() *policy.Request { return inGroups("GET", "/a/b/c") }, true},
	{"denied", func(i, n int) policy.Rule {
		return allowed(policy.Match{Groups: groupsOf(i % 5000), Paths: []string{fmt.Sprintf("/app%d/**", i)}})
	}, func() *policy.Request { return inGroups("GET", "/a/b/c") }, false},
	{"paths", func(i, n int) policy.Rule {
		return allowed(policy.Match{Groups: groupsOf(5 * (i % 200)), Paths: []string{fmt.Sprintf("/app%d/**", n-1-i)}})
	}, func() *policy.Request { return inGroups("GET", "/app0/b/c") }, true},
	{"one_path", func(i, n int) policy.Rule {
		if i == n-1 {
			return allowed(policy.Match{Groups: groupsOf(0), Paths: []string{"/a/**"}})
		}
		return allowed(policy.Match{Groups: groupsOf(5*i + 1), Paths: []string{"/a/**"}})
	}, func() *policy.Request { return inGroups("GET", "/a/b/c") }, true},
	{"methods", func(i, n int) policy.Rule {
		if i == n-1 {
			return allowed(policy.Match{Groups: groupsOf(0), Paths: []string{"/a/**"}})
		}
		return allowed(policy.Match{Groups: groupsOf(5 * (i % 200)), Methods: []string{"POST"}, Paths: []string{"/a/**"}})
	}, func() *policy.Request { return inGroups("GET", "/a/b/c") }, true},
	{"denies", func(i, n int) policy.Rule {
		if i == n-1 {
			return allowed(policy.Match{Groups: groupsOf(0)})
		}
		return policy.Rule{Deny: &policy.Match{Methods: []string{"DELETE"}, UnlessGroups: groupsOf(i)}}
	}, func() *policy.Request { return inGroups("GET", "/a/b/c") }, true},
}

func (s *shape) compile(t testing.TB, n int) *policy.Policy {
	t.Helper()
	p, err := policy.Compile([]policy.Named{{Name: "p", Rules: s.rules(n)}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := p.Decide(s.req()); d.Allow != s.allow {
		t.Fatalf("%s: %+v", s.name, d)
	}
	return p
}

func (s *shape) rules(n int) (rules []policy.Rule) {
	for i := range n {
		rules = append(rules, s.rule(i, n))
	}
	return rules
}

// TestDecide_DoesNotAllocateWithManyRules: what is known of the caller is remembered.
func TestDecide_DoesNotAllocateWithManyRules(t *testing.T) {
	for _, s := range shapes {
		p, req := s.compile(t, 1000), s.req()
		if n := testing.AllocsPerRun(100, func() { p.Decide(req) }); n != 0 {
			t.Errorf("%s: %v allocations", s.name, n)
		}
	}
}

// BenchmarkDecideAmong decides for a user in 200 groups, by 10, 1,000 and 10,000 rules.
func BenchmarkDecideAmong(b *testing.B) {
	for _, s := range shapes {
		for _, n := range []int{10, 1000, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", s.name, n), func(b *testing.B) {
				p, req := s.compile(b, n), s.req()
				b.ReportAllocs()
				for b.Loop() {
					p.Decide(req)
				}
			})
		}
	}
}

// BenchmarkDecideManyGroups decides by one rule that names 1,000 groups, of which the user is in the last one.
func BenchmarkDecideManyGroups(b *testing.B) {
	var groups []policy.GroupRef
	for i := range 1000 {
		groups = append(groups, groupID(5*i+1))
	}
	groups[999] = groupID(0)
	p, err := policy.Compile([]policy.Named{{Name: "p", Rules: []policy.Rule{allowed(policy.Match{Groups: groups})}}}, policy.Options{})
	if err != nil {
		b.Fatal(err)
	}
	req := inGroups("GET", "/")
	b.ReportAllocs()
	for b.Loop() {
		if !p.Decide(req).Allow {
			b.Fatal("denied")
		}
	}
}

// BenchmarkDecideNewRecord decides twice, each time for a user whose record has just changed.
func BenchmarkDecideNewRecord(b *testing.B) {
	for _, s := range shapes {
		for _, n := range []int{1000, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", s.name, n), func(b *testing.B) {
				p, req := s.compile(b, n), s.req()
				other := *req
				other.GroupIDs = slices.Clone(req.GroupIDs)
				b.ReportAllocs()
				for b.Loop() {
					p.Decide(req)
					p.Decide(&other)
				}
			})
		}
	}
}

// BenchmarkDecideConditions decides by conditions of which the last one holds.
func BenchmarkDecideConditions(b *testing.B) {
	for name, condition := range map[string]string{
		"path":       `request.path.startsWith("/app%d/")`,
		"method":     `request.method == "GET" && request.path == "/app%d/x" && request.host.endsWith(".example.com")`,
		"role":       `"role%d" in user.roles && request.method == "GET"`,
		"group":      `"group%d" in user.groups && request.method != "POST"`,
		"attributes": `user.attributes.title == "title%d" && request.method == "GET"`,
		"time":       `request.time.getHours("UTC") < 20 && request.path == "/app%d/x"`,
		"user":       `user.userName == "user%d"`,
	} {
		for _, n := range []int{1, 100} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				var rules []policy.Rule
				for i := range n {
					rules = append(rules, allowed(policy.Match{When: fmt.Sprintf(condition, n-1-i)}))
				}
				p, err := policy.Compile([]policy.Named{{Name: "p", Rules: rules}}, policy.Options{})
				if err != nil {
					b.Fatal(err)
				}
				var requests [2]*policy.Request // in turn, of two users
				for i := range requests {
					req := inGroups("GET", "/app0/x")
					req.GroupIDs = append(req.GroupIDs, "group0")
					req.GroupNames, req.Host = req.GroupIDs, fmt.Sprintf("app%d.example.com", i)
					req.Roles, req.UserName = []string{"role0"}, "user0"
					req.Attributes = &record{document: map[string]any{"title": "title0"}}
					requests[i] = req
				}
				if name == "path" {
					requests[1].Path = "/app0/other"
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if !p.Decide(requests[i%2]).Allow {
						b.Fatal("denied")
					}
				}
			})
		}
	}
}

// BenchmarkCompile compiles rules with a group and a path each.
func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		lists := []policy.Named{{Name: "p", Rules: shapes[1].rules(n)}}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := policy.Compile(lists, policy.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCompileConditions compiles rules with a condition each, of which none is in use.
func BenchmarkCompileConditions(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				var rules []policy.Rule
				for j := range n {
					rules = append(rules, allowed(policy.Match{When: fmt.Sprintf(`request.path.startsWith("/app%d/%d/") && "role%d" in user.roles`, i, j, j)}))
				}
				if _, err := policy.Compile([]policy.Named{{Name: "p", Rules: rules}}, policy.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
