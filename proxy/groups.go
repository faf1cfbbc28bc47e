package proxy

import (
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
	for _, ref := range policy.GroupsIn(append(slices.Clone(s.Policies), s.Console.Policy())) {
		name, ok := ids[ref.ID]
		switch {
		case ref.ID == "" && !names[ref.Name], ref.ID != "" && !ok:
			p.log.Warn("a rule names a group that the directory does not have", "group", ref.ID, "name", ref.Name)
		case ref.ID != "" && ref.Name != "" && ref.Name != name:
			p.log.Warn("a rule names a group by its id and by another name than the directory has", "group", ref.ID, "name", ref.Name, "has", name)
		}
	}
}
