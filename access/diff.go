package access

import (
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

// routesAtOnce bounds how many routes are compared at once, and so the memory for
// everybody who reaches one of them.
const routesAtOnce = 8

// Diff returns what changes for each route, in the order of after and then of those
// that only before has. Routes are the same if they have the same name.
func Diff(before, after []*Route, users []*directory.User, s Scope) (list []Difference) {
	old, new := byName(before), byName(after)
	var names []string
	for _, r := range slices.Concat(after, before) {
		if !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	for some := range slices.Chunk(names, routesAtOnce) {
		were, are := reachers(old, some, users, s), reachers(new, some, users, s)
		for _, name := range some {
			d := difference(name, were[name], are[name])
			if a, b := old[name], new[name]; a != nil && b != nil && a.place() != b.place() {
				d.Moved = a.place() + " to " + b.place()
			}
			if !d.Empty() {
				list = append(list, d)
			}
		}
	}
	return list
}

func byName(routes []*Route) map[string]*Route {
	m := map[string]*Route{}
	for _, r := range routes {
		m[r.Name] = r
	}
	return m
}

// place says where a route is and what it accepts.
func (r *Route) place() string {
	return r.Host + r.Path + " (" + strings.Join(r.facts().Accept, ", ") + ")"
}

// identity tells callers apart, whatever they are called.
type identity struct{ kind, id, name string }

// reachers returns, for each of the routes with names, everybody who reaches it, and how.
func reachers(routes map[string]*Route, names []string, users []*directory.User, s Scope) map[string]map[identity]Reach {
	var some []*Route
	all := map[string]map[identity]Reach{}
	for _, name := range names {
		if r := routes[name]; r != nil {
			some = append(some, r)
		}
		all[name] = map[identity]Reach{}
	}
	for _, reach := range Who(some, users, s) {
		all[reach.Route][identity{reach.Kind, reach.ID, reach.Name}] = reach
	}
	return all
}

// difference returns what changes for a route; old and new say who reaches it, and how.
func difference(route string, old, new map[identity]Reach) Difference {
	d := Difference{Route: route}
	for who, reach := range new {
		former, ok := old[who]
		switch {
		case !ok:
			d.Gained = append(d.Gained, reach.Caller())
		case former.conditions() != reach.conditions():
			d.Changed = append(d.Changed, reach.Caller())
		}
	}
	for who, reach := range old {
		if _, ok := new[who]; !ok {
			d.Lost = append(d.Lost, reach.Caller())
		}
	}
	slices.Sort(d.Gained)
	slices.Sort(d.Lost)
	slices.Sort(d.Changed)
	return d
}

// conditions writes under which conditions a caller reaches a route, whatever the rules
// are called that say so.
func (r Reach) conditions() string {
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
