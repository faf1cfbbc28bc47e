package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// rule is a rule as all engines can have it.
type rule struct {
	deny   bool
	group  string // whose members it is about
	method string // "" for all
	prefix string // of the path; it ends in a slash, but in a condition
	within string // the department that the caller must have, which is a condition on an attribute; "" for all
}

// user is a member of many groups.
type user struct {
	name       string
	groups     []string // sorted
	department string
}

// request is what is decided.
type request struct {
	user         int // of the world
	method, path string
}

// world is the rules and the users, and requests that are measured.
type world struct {
	what     string // kind of rules it has
	rules    []rule
	users    []user
	requests []request
	random   *rand.Rand
}

const (
	applications = 50
	manyUsers    = 16
	manyGroups   = 20_000 // in the company
	manyRequests = 64
)

var methods = []string{"GET", "POST", "DELETE"}

// newWorld makes up n rules for different groups, of which one in ten denies, and users who are in many groups. Some of the
// groups have rules, one of the last rules' among them, so that no engine is spared a look at these.
func newWorld(n, groups int) *world {
	w := &world{what: "rules for groups", random: rand.New(rand.NewPCG(17, uint64(n)))}
	for i := range n {
		r := rule{deny: i%10 == 9, group: groupName(i), prefix: fmt.Sprintf("/app%d/", w.random.IntN(applications))}
		if i%3 == 0 || r.deny {
			r.method = methods[w.random.IntN(len(methods))]
		}
		w.rules = append(w.rules, r)
	}
	for i := range manyUsers {
		w.users = append(w.users, user{fmt.Sprintf("user%d@example.com", i), w.someGroups(n, groups), departmentName(0)})
	}
	for range manyRequests {
		w.requests = append(w.requests, w.request())
	}
	return w
}

// newConditionalWorld makes up n rules for a group that everybody is in, each with a condition on an attribute and on the path,
// and users of whom half meet one of the conditions.
func newConditionalWorld(n, groups int) *world {
	w := &world{what: "rules with a condition", random: rand.New(rand.NewPCG(17, uint64(n)))}
	for i := range n {
		w.rules = append(w.rules, rule{group: groupName(0), prefix: "/app", within: departmentName(i)})
	}
	for i := range manyUsers {
		u := user{fmt.Sprintf("user%d@example.com", i), w.someGroups(1, groups), departmentName(w.random.IntN(n))}
		if i%2 == 0 {
			u.department = departmentName(n)
		}
		w.users = append(w.users, u)
	}
	for range manyRequests {
		w.requests = append(w.requests, w.request())
	}
	return w
}

func departmentName(i int) string { return fmt.Sprintf("Department %d", i) }

// someGroups returns as many groups. About one in ten has a rule.
func (w *world) someGroups(n, many int) []string {
	in := map[string]bool{}
	last := n - 1 - w.random.IntN(max(1, n/4))
	if last%10 == 9 { // denies
		last--
	}
	in[groupName(last)] = true
	for len(in) < many {
		if w.random.IntN(10) == 0 && len(in) <= n/3 {
			in[groupName(w.random.IntN(n))] = true
		} else {
			in[groupName(n+w.random.IntN(manyGroups))] = true
		}
	}
	groups := make([]string, 0, many)
	for group := range in {
		groups = append(groups, group)
	}
	slices.Sort(groups)
	return groups
}

func groupName(i int) string { return fmt.Sprintf("61503835-0000-4000-8000-%012d", i) }

// request returns a request of a user. One in two is about something that a rule for one of their groups names.
func (w *world) request() request {
	r := request{user: w.random.IntN(len(w.users)), method: methods[w.random.IntN(len(methods))]}
	r.path = fmt.Sprintf("/app%d/page", w.random.IntN(applications))
	if w.random.IntN(2) == 0 {
		return r
	}
	u := w.users[r.user]
	start := w.random.IntN(len(w.rules))
	for i := range w.rules {
		if found := w.rules[(start+i)%len(w.rules)]; slices.Contains(u.groups, found.group) {
			if found.prefix != "/" {
				r.path = found.prefix + "page"
			}
			if found.method != "" {
				r.method = found.method
			}
			break
		}
	}
	return r
}
