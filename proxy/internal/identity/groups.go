package identity

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"

	"sallyport/policy"
	"sallyport/proxy/internal/header"
)

// MaxGroupBytes is the length limit of a list of group names: what the smallest header limit of common servers lets
// through. A user can be in all groups of a route, so all of its groups together must keep to it.
const MaxGroupBytes = 8 << 10

// GroupNames returns how rules call the groups that they name by id. Upstreams are sent these names and not those of the
// directory: whoever may rename a group there must not become a member of another one here. fault is told of names that
// an upstream could not rely on.
func GroupNames(lists []policy.Named, fault func(problem string)) map[string]string {
	names, ids, bytes := map[string]string{}, map[string]string{}, 0
	for _, g := range policy.GroupsIn(lists) {
		if g.ID != "" && g.Name == "" {
			fault(fmt.Sprintf("the policy names the group %s without its name, which group_names sends; write name: beside the id", g.ID))
			continue
		}
		called, known := names[g.ID]
		other, taken := ids[fold(g.Name)]
		switch {
		case g.ID != "" && known && called != g.Name:
			fault(fmt.Sprintf("the policy calls the group %s both %q and %q; give it one name", g.ID, called, g.Name))
		case taken && other != g.ID:
			fault(fmt.Sprintf("the policy calls two groups %q, which no application could tell apart; write other names, or leave group_names out", g.Name))
		case !taken:
			bytes += len(header.WordValue(g.Name)) + len(",")
		}
		ids[fold(g.Name)] = g.ID
		if g.ID != "" {
			names[g.ID] = g.Name
		}
	}
	if bytes > MaxGroupBytes {
		fault(fmt.Sprintf("the names of all groups of the policy make a header of %d bytes, and many servers reject one over %d; leave group_names out, or give the route a policy with fewer groups", bytes, MaxGroupBytes))
	}
	return names
}

// ListBytes returns the length of the list of all groups that rules name, as they name them.
func ListBytes(lists []policy.Named) (n int) {
	seen := map[string]bool{}
	for _, g := range policy.GroupsIn(lists) {
		called := cmp.Or(g.ID, g.Name)
		if !seen[called] {
			n += len(header.ListValue(called)) + len(",")
		}
		seen[called] = true
	}
	return n
}

// fold returns text with one rune for each that differs from it by case alone: applications may compare without regard to
// case.
func fold(text string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			least = min(least, other)
		}
		return least
	}, strings.TrimSpace(text))
}
