package policy

import "slices"

// reading is what a part about the caller reads. All of it is known of a caller, but that what they hold changes without
// their record, that each token says itself which roles an application has, and that there are documents which cannot
// be told apart.
type reading uint8

const (
	readsCaller reading = 1 << iota // of every part about the caller
	readsGrants
	readsRoles
	readsAttributes

	readsAnything = readsCaller | readsGrants | readsRoles | readsAttributes
)

// callerPart is a part of a rule that is about the caller alone.
type callerPart struct {
	key     string
	reads   reading
	indexed bool // it matches every caller for whom callerIndex names the rule
	matches matcher
}

// callerIndex finds the rules that may be about a caller by one part of each.
type callerIndex struct {
	apps, users, groups, groupNames, roles map[string][]int
	anyRole                                []int // the rules of roles
	others                                 []int // the rules that have no such part
}

func newCallerIndex() callerIndex {
	return callerIndex{apps: map[string][]int{}, users: map[string][]int{}, groups: map[string][]int{}, groupNames: map[string][]int{}, roles: map[string][]int{}}
}

func (x *callerIndex) add(n int, r *rule, m *Match) {
	switch {
	case len(m.Apps) > 0:
		r.setIndexed(partApps)
		addTo(x.apps, m.Apps, n)
	case len(m.Users) > 0:
		r.setIndexed(partUsers)
		addTo(x.users, m.Users, n)
	case len(m.Groups) > 0:
		r.setIndexed(partGroups)
		x.addGroups(m.Groups, n)
	case len(m.AllGroups) > 0:
		x.addGroups(m.AllGroups[:1], n)
	case len(m.Roles) > 0:
		r.setIndexed(partRoles)
		addTo(x.roles, m.Roles, n)
		x.anyRole = append(x.anyRole, n)
	default:
		x.others = append(x.others, n)
	}
}

func (r *rule) setIndexed(key string) {
	i := slices.IndexFunc(r.callers, func(p callerPart) bool { return p.key == key })
	r.callers[i].indexed = true
}

func (x *callerIndex) addGroups(groups []GroupRef, n int) {
	for _, g := range groups {
		if g.ID != "" {
			addTo(x.groups, []string{g.ID}, n)
		} else {
			addTo(x.groupNames, []string{g.Name}, n)
		}
	}
}

func addTo(rules map[string][]int, names []string, n int) {
	for _, name := range names {
		rules[name] = append(rules[name], n)
	}
}

// each calls f with numbers of rules, which are at least those whose part that is indexed matches the caller of req. A number can come more than once.
func (x *callerIndex) each(req *Request, open reading, f func([]int)) {
	f(x.others)
	f(x.apps[req.App])
	f(x.users[req.UserName])
	f(x.users[req.ExternalID])
	eachOf(x.groups, req.GroupIDs, f)
	eachOf(x.groupNames, req.GroupNames, f)
	if open&readsRoles != 0 {
		f(x.anyRole)
	} else {
		eachOf(x.roles, req.Roles, f)
	}
}

func eachOf(rules map[string][]int, names []string, f func([]int)) {
	if len(rules) == 0 {
		return
	}
	for _, name := range names {
		if list, ok := rules[name]; ok {
			f(list)
		}
	}
}
