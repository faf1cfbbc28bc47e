package access

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"sallyport/directory"
	"sallyport/policy"
)

// Picture is how people reach a route: by their memberships and by rules, in numbers.
type Picture struct {
	Count

	People []*directory.User // who reach the route, in the order in which they were given
	Groups []PictureGroup    // the largest first
	Rules  []PictureRule     // in their order; those that let nobody in are left out
	Edges  []PictureEdge     // from groups to rules, in the order of both
	Others []Reach           // who reaches the route beside people

	names []string // of People, in lower case
}

// Named returns the people who have text in their userName, displayName or e-mail address, whatever its case.
func (p Picture) Named(text string) (found []*directory.User) {
	text = strings.ToLower(text)
	for i, names := range p.names {
		if strings.Contains(names, text) {
			found = append(found, p.People[i])
		}
	}
	return found
}

// foldNames returns the names of people in lower case. They are parts of one text, so that they are found quickly.
func foldNames(people []*directory.User) []string {
	var all strings.Builder
	ends := make([]int, len(people))
	for i, u := range people {
		for _, name := range []string{u.UserName, u.DisplayName, u.Email} {
			all.WriteString(strings.ToLower(name) + "\n")
		}
		ends[i] = all.Len()
	}
	names, begin := make([]string, len(people)), 0
	for i, end := range ends {
		names[i], begin = all.String()[begin:end], end
	}
	return names
}

// PictureGroup is a group of which a membership lets people in. The zero Group stands for what is no membership, such as a
// name, a role or a grant.
type PictureGroup struct {
	Group directory.Group
	Users int // who reach the route by a membership of it
}

// PictureRule is a rule that lets people in, or that keeps those out of a part who reach the rest.
type PictureRule struct {
	Name, Effect, Text string
	Users              int
}

// PictureEdge says how many people a rule lets in as members of a group.
type PictureEdge struct {
	Group string // id in the directory; "" for no membership
	Rule  string
	Users int
}

// Draw returns the picture of a route. It works on one core, and returns the error of ctx soon after ctx ends.
func Draw(ctx context.Context, route *Route, users []*directory.User, groups []directory.Group, s Scope) (Picture, error) {
	d := drawing{groups: namesOf(groups), steps: map[string]policy.Step{}, edges: map[[2]string]int{}, byGroup: map[string]int{}, byRule: map[string]int{}}
	all := route.Policy.Explain(&policy.Request{})
	for _, step := range all {
		d.steps[step.Rule] = step
	}
	p := Picture{Count: Count{Route: route.Name}}
	for _, place := range ask([]*Route{route}, s) {
		p.Others = nonUsers(place, s)
		p.addNonUsers(p.Others)
		for n, u := range users {
			if n%usersBetween == 0 && ctx.Err() != nil {
				return Picture{}, ctx.Err()
			}
			if d.add(place, u, s) {
				p.People = append(p.People, u)
			}
		}
	}
	p.Users, p.names = len(p.People), foldNames(p.People)
	d.finish(&p, all, groups)
	return p, ctx.Err()
}

// letsOthersIn reports whether a rule lets in who is no user.
func (p *Picture) letsOthersIn(rule string) bool {
	return slices.ContainsFunc(p.Others, func(r Reach) bool {
		return slices.ContainsFunc(r.Allowed, func(w policy.Way) bool { return w.Rule == rule })
	})
}

// drawing counts for a picture.
type drawing struct {
	groups  groupNames
	steps   map[string]policy.Step
	edges   map[[2]string]int // by group and rule
	byGroup map[string]int
	byRule  map[string]int
}

// add counts a user, and reports whether they reach the route.
func (d *drawing) add(place asked, u *directory.User, s Scope) bool {
	if u.Barred() != "" {
		return false
	}
	req := s.request()
	SetCaller(&req, u, "", nil)
	SetGrants(&req, u, s.Grants)
	if !place.reaches(&req, s.known()) {
		return false
	}
	allowed, except := place.reach(&req, s.known())
	by := map[string]bool{}
	for _, way := range allowed {
		d.byRule[way.Rule]++
		satisfying := d.groups.satisfying(d.steps[way.Rule], u, s.Grants)
		if len(satisfying) == 0 {
			satisfying = []directory.Group{{}}
		}
		for _, g := range satisfying {
			d.edges[[2]string{g.ID, way.Rule}]++
			by[g.ID] = true
		}
	}
	for _, way := range except {
		d.byRule[way.Rule]++
	}
	for id := range by {
		d.byGroup[id]++
	}
	return true
}

// finish writes what was counted into the picture.
func (d *drawing) finish(p *Picture, steps []policy.Step, groups []directory.Group) {
	for _, step := range steps {
		if n := d.byRule[step.Rule]; n > 0 || p.letsOthersIn(step.Rule) {
			p.Rules = append(p.Rules, PictureRule{step.Rule, step.Effect, RuleTextOf(step), n})
		}
	}
	for _, g := range append(slices.Clone(groups), directory.Group{}) {
		if n := d.byGroup[g.ID]; n > 0 {
			p.Groups = append(p.Groups, PictureGroup{g, n})
		}
	}
	slices.SortStableFunc(p.Groups, func(a, b PictureGroup) int {
		return cmp.Or(b.Users-a.Users, strings.Compare(a.Group.DisplayName, b.Group.DisplayName))
	})
	for _, g := range p.Groups {
		for _, r := range p.Rules {
			if n := d.edges[[2]string{g.Group.ID, r.Name}]; n > 0 {
				p.Edges = append(p.Edges, PictureEdge{g.Group.ID, r.Name, n})
			}
		}
	}
}
