package policy

import (
	"fmt"
	"reflect"
	"slices"
	"time"
)

// endsSoon is how long before its end a rule is warned of.
const endsSoon = 14 * 24 * time.Hour

// Warn reports what rules may say without meaning it: rules that have ended or end
// soon, that another rule makes superfluous, or that a deny rule makes void, and grants
// that demand less than every rule. Each has the path of what it is about,
// such as rules[1].
func (n Named) Warn(now time.Time, warn func(path, problem string)) {
	n.warnOfEasierGrants(warn)
	for i, r := range n.Rules {
		path := "rules" + index(i)
		r.warnOfEnd(now, func(problem string) { warn(path+"."+keyUntil, problem) })
		for j, other := range n.Rules {
			if i != j && r.Mode == "" && other.Mode == "" && (other.Until == "" || other.Until == r.Until) {
				n.warnOfOther(i, j, func(problem string) { warn(path, problem) })
			}
		}
	}
}

func (r Rule) warnOfEnd(now time.Time, warn func(problem string)) {
	end, err := ParseEnd(r.Until)
	switch {
	case err != nil: // absent, or reported as a fault
	case !now.Before(end):
		warn(fmt.Sprintf("the rule ended at %s; remove it, or give it a later end", end.Format(time.RFC3339)))
	case end.Sub(now) < endsSoon:
		warn(fmt.Sprintf("the rule ends in %d days, at %s", int(end.Sub(now).Hours()/24), end.Format(time.RFC3339)))
	}
}

// warnOfOther warns if rule i makes no difference beside rule j.
func (n Named) warnOfOther(i, j int, warn func(problem string)) {
	a, b := n.Rules[j], n.Rules[i]
	name, first := fmt.Sprintf("%s[%d]", n.Name, j), j < i || n.Rules[j].Until != n.Rules[i].Until // of two that are alike, one is kept
	switch {
	case a.Deny != nil && b.Allow != nil && a.Deny.covers(b.Allow, false):
		warn(fmt.Sprintf("the rule lets nobody in: %s denies all that it allows", name))
	case a.Allow != nil && b.Allow != nil && a.Allow.covers(b.Allow, true) && (first || !b.Allow.covers(a.Allow, true)):
		warn(fmt.Sprintf("the rule makes no difference: %s allows all that it allows; remove one of them", name))
	case a.Deny != nil && b.Deny != nil && a.Deny.covers(b.Deny, false) && (first || !b.Deny.covers(a.Deny, false)):
		warn(fmt.Sprintf("the rule makes no difference: %s denies all that it denies; remove one of them", name))
	}
}

// covers reports whether m, a rule that allows or denies, certainly matches whatever
// other matches. It may return false where it cannot tell.
func (m *Match) covers(other *Match, allow bool) bool {
	if allow && !m.Anyone && (other.Anyone || len(other.Apps) > 0 && len(m.Apps) == 0) {
		return false
	}
	return m.coversMethods(other, allow) &&
		oneSuffices(m.Apps, other.Apps) && oneSuffices(m.Users, other.Users) && oneSuffices(m.Roles, other.Roles) &&
		oneSuffices(m.Paths, other.Paths) && oneSuffices(m.Networks, other.Networks) &&
		oneSuffices(m.ReportsTo, other.ReportsTo) && oneSuffices(m.ManagerOf, other.ManagerOf) &&
		oneSuffices(groupKeys(m.Groups), groupKeys(other.Groups)) &&
		within(groupKeys(m.AllGroups), groupKeys(other.AllGroups)) &&
		within(groupKeys(m.UnlessGroups), groupKeys(other.UnlessGroups)) && within(m.NotUsers, other.NotUsers) &&
		m.coversAttributes(other) &&
		(m.When == "" || m.When == other.When) && (m.Hours == nil || reflect.DeepEqual(m.Hours, other.Hours)) &&
		m.login().covers(other.login())
}

// coversMethods minds that an allow rule without methods stands for the usual ones.
func (m *Match) coversMethods(other *Match, allow bool) bool {
	mine, others := m.Methods, other.Methods
	if allow && len(mine) == 0 {
		mine = usualMethods
	}
	if len(others) == 0 {
		others = usualMethods
		if !allow {
			return len(mine) == 0 || slices.Contains(mine, anyMethod)
		}
	}
	return len(mine) == 0 || slices.Contains(mine, anyMethod) || within(others, mine)
}

func (m *Match) coversAttributes(other *Match) bool {
	for name, values := range m.Attributes {
		if others, ok := other.Attributes[name]; !ok || !within(others, values) {
			return false
		}
	}
	return true
}

// oneSuffices compares parts of which one element suffices; an absent part matches
// everything.
func oneSuffices(mine, others []string) bool {
	return len(mine) == 0 || len(others) > 0 && within(others, mine)
}

// within reports whether every element of list is in other.
func within(list, other []string) bool {
	return !slices.ContainsFunc(list, func(text string) bool { return !slices.Contains(other, text) })
}

func groupKeys(groups []GroupRef) (keys []string) {
	for _, g := range groups {
		if g.ID != "" {
			keys = append(keys, "id "+g.ID)
		} else {
			keys = append(keys, "name "+g.Name)
		}
	}
	return keys
}

// covers reports whether every login that meets other meets l.
func (l *Login) covers(other *Login) bool {
	switch {
	case l == nil:
		return true
	case other == nil:
		return false
	}
	return (l.MaxAge == 0 || other.MaxAge > 0 && other.MaxAge <= l.MaxAge) &&
		oneSuffices(l.ACR, other.ACR) && oneSuffices(l.AMR, other.AMR) && oneSuffices(l.Context, other.Context)
}
