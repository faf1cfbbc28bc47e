package access

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"sallyport/directory"
	"sallyport/policy"
)

// ReviewRow is a user who reaches a route by one rule.
type ReviewRow struct {
	User    *directory.User
	Rule    string
	Groups  []directory.Group // of which the membership satisfies the rule; none if no membership does
	LastUse time.Time         // zero: never since the record begins
}

// RuleText is a rule in one line.
type RuleText struct{ Name, Text string }

// ReviewRows returns a row for each user who reaches the route and each allow rule in force
// that lets them in, by userName, and the rules that are in rows. Groups are those of the
// directory.
func ReviewRows(route *Route, users []*directory.User, groups []directory.Group, s Scope, last *LastUse) (rules []RuleText, rows []ReviewRow) {
	byID := make(map[string]*directory.User, len(users))
	for _, u := range users {
		byID[u.ID] = u
	}
	named, steps, used := namesOf(groups), map[string]policy.Step{}, map[string]bool{}
	all := route.Policy.Explain(&policy.Request{})
	for _, step := range all {
		steps[step.Rule] = step
	}
	for _, reach := range Who([]*Route{route}, users, s) {
		u := byID[reach.ID]
		if reach.Kind != "user" || u == nil {
			continue
		}
		for _, way := range reach.Allowed {
			used[way.Rule] = true
			rows = append(rows, ReviewRow{User: u, Rule: way.Rule, Groups: named.satisfying(steps[way.Rule], u, s.Grants), LastUse: last.Of(u.ID, way.Rule)})
		}
	}
	for _, step := range all {
		if used[step.Rule] {
			rules = append(rules, RuleText{step.Rule, textOf(step)})
		}
	}
	return rules, rows
}

// textOf writes a rule as "allow: groups SRE; methods GET, HEAD".
func textOf(s policy.Step) string { return s.Effect + ": " + RuleTextOf(s) }

// RuleTextOf writes what is written in a rule, such as "groups SRE; methods GET, HEAD".
func RuleTextOf(s policy.Step) string {
	var parts []string
	for _, p := range s.Parts {
		if p.Written {
			parts = append(parts, p.Part+" "+p.Text)
		}
	}
	return strings.Join(parts, "; ")
}

// groupNames finds groups of the directory as rules name them.
type groupNames struct{ byID, byName map[string]directory.Group }

func namesOf(groups []directory.Group) groupNames {
	n := groupNames{map[string]directory.Group{}, map[string]directory.Group{}}
	for _, g := range groups {
		if g.ExternalID != "" {
			n.byID[g.ExternalID] = g
		}
		n.byName[g.DisplayName] = g
	}
	return n
}

// satisfying returns the groups of which the user's membership satisfies a rule: every one
// that is named by groups; or else the smallest that is named by all_groups, since the rule
// wants them all. Revoked memberships do not count.
func (n groupNames) satisfying(s policy.Step, u *directory.User, grants GrantsOf) []directory.Group {
	var any, all []directory.Group
	for _, p := range s.Parts {
		switch p.Part {
		case "groups":
			any = n.of(p.Groups, u, grants)
		case "all_groups":
			all = n.of(p.Groups, u, grants)
		}
	}
	if len(any) > 0 || len(all) == 0 {
		return any
	}
	return []directory.Group{slices.MinFunc(all, func(a, b directory.Group) int {
		return cmp.Or(a.Members-b.Members, strings.Compare(a.DisplayName, b.DisplayName))
	})}
}

// of returns the groups among refs that the user is a member of.
func (n groupNames) of(refs []policy.GroupRef, u *directory.User, grants GrantsOf) (list []directory.Group) {
	for _, ref := range refs {
		i, g := slices.Index(u.GroupIDs, ref.ID), n.byID[ref.ID]
		if ref.ID == "" {
			i, g = slices.Index(u.GroupNames, ref.Name), n.byName[ref.Name]
		}
		if i < 0 || g.ID == "" || grants != nil && Revoked(grants(u.ID, u.Epoch), u, i) {
			continue
		}
		if !slices.ContainsFunc(list, func(other directory.Group) bool { return other.ID == g.ID }) {
			list = append(list, g)
		}
	}
	return list
}

// LastUse collects when users last used the rules of a route.
type LastUse struct {
	Route  string
	Begins time.Time // of the record; zero if it has nothing
	at     map[[2]string]time.Time
}

// Add notes a recorded decision.
func (l *LastUse) Add(e Recorded) {
	if e.Route != l.Route || !e.Allow || e.User == "" {
		return
	}
	if l.at == nil {
		l.at = map[[2]string]time.Time{}
	}
	if key := [2]string{e.User, e.Rule}; e.Time.After(l.at[key]) {
		l.at[key] = e.Time
	}
}

// Of returns when a rule last let a user in; zero if it never did.
func (l *LastUse) Of(user, rule string) time.Time {
	if l == nil {
		return time.Time{}
	}
	return l.at[[2]string{user, rule}]
}
