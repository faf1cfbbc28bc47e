package policy

import "slices"

// RelatedIn returns the users whom the rules of lists name by reports_to and manager_of,
// each once. What an [Organization] says of other users matters to no decision, beside
// who the manager of the caller is.
func RelatedIn(lists []Named) (names []string) {
	add := func(m *Match) {
		if m != nil {
			names = append(append(names, m.ReportsTo...), m.ManagerOf...)
		}
	}
	for _, list := range lists {
		for _, r := range list.Rules {
			add(r.match())
		}
		if list.Requestable != nil {
			add(list.Requestable.Allow)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
