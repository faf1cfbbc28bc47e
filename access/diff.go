package access

import (
	"context"
	"slices"
	"strings"

	"sallyport/directory"
	"sallyport/policy"
)

// Difference is what new rules change about one route.
type Difference struct {
	Route   string   `json:"route"`
	Moved   string   `json:"moved,omitempty"`   // from which place to which, and what the route accepts there
	Gained  []string `json:"gained,omitempty"`  // who reaches the route by the new rules only
	Lost    []string `json:"lost,omitempty"`    // who reaches it by the old rules only
	Changed []string `json:"changed,omitempty"` // who reaches it by both, but under other conditions
}

// Empty reports whether nothing changes.
func (d Difference) Empty() bool {
	return d.Moved == "" && len(d.Gained)+len(d.Lost)+len(d.Changed) == 0
}

// Change is a [Difference] of which the lists of names may be cut short. The numbers are of everybody, those in the lists
// included.
type Change struct {
	Difference

	GainedCount  int `json:"gained_count"`
	LostCount    int `json:"lost_count"`
	ChangedCount int `json:"changed_count"`
}

// DiffAtMost is [Diff] that names at most limit callers in each list, the first of users, and counts all. It works on one core,
// and returns the error of ctx soon after ctx ends.
func DiffAtMost(ctx context.Context, limit int, before, after []*Route, users []*directory.User, s Scope) (list []Change, err error) {
	pairs := pairsOf(ask(before, s), ask(after, s))
	changes := make([]Change, len(pairs))
	for i, p := range pairs {
		changes[i].Route = p.name
		changes[i].add(p.withoutUsers(s), limit)
	}
	for part := range slices.Chunk(users, usersBetween) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for i, d := range differencesOf(pairs, part, s) {
			changes[i].add(d, limit)
		}
	}
	for _, c := range changes {
		if c.Moved != "" || c.GainedCount+c.LostCount+c.ChangedCount > 0 {
			list = append(list, c)
		}
	}
	return list, nil
}

// add adds what else changes.
func (c *Change) add(d Difference, limit int) {
	if d.Moved != "" {
		c.Moved = d.Moved
	}
	for _, list := range []struct {
		names *[]string
		count *int
		more  []string
	}{{&c.Gained, &c.GainedCount, d.Gained}, {&c.Lost, &c.LostCount, d.Lost}, {&c.Changed, &c.ChangedCount, d.Changed}} {
		*list.count += len(list.more)
		*list.names = append(*list.names, list.more[:min(len(list.more), max(limit-len(*list.names), 0))]...)
	}
}

// pair is a route by the old rules and by the new ones; one of them may be nil.
type pair struct {
	name     string
	old, new *asked
	same     bool // the same callers reach both under the same conditions
}

// Diff returns what changes for each route, in the order of after and then of those
// that only before has. Routes are the same if they have the same name.
func Diff(before, after []*Route, users []*directory.User, s Scope) (list []Difference) {
	pairs := pairsOf(ask(before, s), ask(after, s))
	changes := make([]Difference, len(pairs))
	for i, p := range pairs {
		changes[i] = p.withoutUsers(s)
	}
	for _, part := range inParts(users, func(part []*directory.User) []Difference { return differencesOf(pairs, part, s) }) {
		for i, d := range part {
			changes[i].add(d)
		}
	}
	for _, d := range changes {
		slices.Sort(d.Gained)
		slices.Sort(d.Lost)
		slices.Sort(d.Changed)
		if !d.Empty() {
			list = append(list, d)
		}
	}
	return list
}

func pairsOf(before, after []asked) (pairs []pair) {
	index := map[string]int{}
	of := func(name string) *pair {
		i, ok := index[name]
		if !ok {
			i = len(pairs)
			index[name], pairs = i, append(pairs, pair{name: name})
		}
		return &pairs[i]
	}
	for i := range after {
		of(after[i].Name).new = &after[i]
	}
	for i := range before {
		p := of(before[i].Name)
		p.old = &before[i]
		p.same = p.new != nil && p.old.Host == p.new.Host && p.old.Bearer == p.new.Bearer && p.old.Policy.Equal(p.new.Policy)
	}
	return pairs
}

// withoutUsers returns where the route moves, and what changes for callers who are not users.
func (p pair) withoutUsers(s Scope) Difference {
	d := Difference{Route: p.name}
	if p.old != nil && p.new != nil && p.old.place() != p.new.place() {
		d.Moved = p.old.place() + " to " + p.new.place()
	}
	if p.same {
		return d
	}
	old, new := map[string]Reach{}, map[string]Reach{}
	for route, reached := range map[*asked]map[string]Reach{p.old: old, p.new: new} {
		if route == nil {
			continue
		}
		for _, reach := range nonUsers(*route, s) {
			reached[reach.Caller()] = reach
		}
	}
	for name, reach := range new {
		former, ok := old[name]
		d.note(name, ok, true, former, reach)
	}
	for name := range old {
		if _, ok := new[name]; !ok {
			d.Lost = append(d.Lost, name)
		}
	}
	return d
}

// differencesOf returns what changes for users, route by route.
func differencesOf(pairs []pair, users []*directory.User, s Scope) []Difference {
	list, known := make([]Difference, len(pairs)), s.known()
	for _, u := range users {
		if u.Barred() != "" {
			continue
		}
		req := s.request()
		SetCaller(&req, u, "", nil)
		SetGrants(&req, u, s.Grants)
		for i, p := range pairs {
			if p.same {
				continue
			}
			did, does := p.old != nil && p.old.reaches(&req, known), p.new != nil && p.new.reaches(&req, known)
			var former, reach Reach
			if did && does {
				former.Allowed, former.Except = p.old.reach(&req, known)
				reach.Allowed, reach.Except = p.new.reach(&req, known)
			}
			list[i].note(u.UserName, did, does, former, reach)
		}
	}
	return list
}

// note adds what changes for one caller, who did and does reach the route, or not.
func (d *Difference) note(name string, did, does bool, former, reach Reach) {
	switch {
	case does && !did:
		d.Gained = append(d.Gained, name)
	case did && !does:
		d.Lost = append(d.Lost, name)
	case does && former.conditions() != reach.conditions():
		d.Changed = append(d.Changed, name)
	}
}

func (d *Difference) add(more Difference) {
	d.Gained, d.Lost, d.Changed = append(d.Gained, more.Gained...), append(d.Lost, more.Lost...), append(d.Changed, more.Changed...)
}

// place says where a route is and what it accepts.
func (r *Route) place() string {
	return r.Host + r.Path + " (" + strings.Join(r.Facts().Accept, ", ") + ")"
}

// conditions writes under which conditions a caller reaches a route, whatever the rules
// are called that say so.
func (r Reach) conditions() string {
	if len(r.Except) == 0 && slices.ContainsFunc(r.Allowed, policy.Way.Unconditional) {
		return ""
	}
	allowed := conditionTexts(r.Allowed)
	if slices.Contains(allowed, "") { // one rule without conditions is enough
		allowed = nil
	}
	return strings.Join(allowed, "\n") + "\n\n" + strings.Join(conditionTexts(r.Except), "\n")
}

func conditionTexts(ways []policy.Way) []string {
	texts := make([]string, len(ways))
	for i, w := range ways {
		texts[i] = conditionsText(w)
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}
