package proxy

import (
	"cmp"
	"slices"

	"sallyport/policy"
)

// warnOfGroups logs the groups that rules name and that the directory does not have, or has under another name. That is
// no error: such an allow rule matches nobody, and such a deny rule stops nobody. Before the first group was pushed every
// name would be missing, so nothing is logged then.
func (p *Proxy) warnOfGroups(s Settings) {
	groups := p.directory.Groups()
	if len(groups) == 0 {
		return
	}
	names, ids := map[string]bool{}, map[string]string{}
	for _, g := range groups {
		names[g.DisplayName], ids[g.ExternalID] = true, g.DisplayName
	}
	for _, ref := range groupsNamed(s.Policies) {
		name, ok := ids[ref.ID]
		switch {
		case ref.ID == "" && !names[ref.Name], ref.ID != "" && !ok:
			p.log.Warn("a rule names a group that the directory does not have", "group", ref.ID, "name", ref.Name)
		case ref.ID != "" && ref.Name != "" && ref.Name != name:
			p.log.Warn("a rule names a group by its id and by another name than the directory has", "group", ref.ID, "name", ref.Name, "has", name)
		}
	}
}

// groupsNamed returns the groups that rules name, each once.
func groupsNamed(policies []policy.Named) (list []policy.GroupRef) {
	for _, named := range policies {
		for _, rule := range named.Rules {
			for _, m := range []*policy.Match{rule.Allow, rule.Deny} {
				if m != nil {
					list = append(append(list, m.Groups...), m.UnlessGroups...)
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b policy.GroupRef) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Name, b.Name)) })
	return slices.Compact(list)
}
