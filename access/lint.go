package access

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"sallyport/directory"
	"sallyport/policy"
)

// Finding is something in rules that the live directory shows to be a mistake, or that
// may not be meant.
type Finding struct {
	Path    string `json:"path"` // in the configuration, such as policies[0].rules[1].allow.groups[0]
	Problem string `json:"problem"`
}

// Subject is what [Lint] reads: rules and routes as they are written, and the live directory.
type Subject struct {
	Policies []policy.Named
	Routes   []*Route   // in the order of the file
	Uses     [][]string // the names of each route's policies
	Groups   []directory.Group
	Users    []*directory.User
	Scope    Scope
}

// Lint returns everything that is odd about rules beside the directory, by position.
func Lint(s Subject) (findings []Finding) {
	find := func(path, format string, values ...any) {
		findings = append(findings, Finding{path, fmt.Sprintf(format, values...)})
	}
	known := s.known()
	for i, p := range s.Policies {
		used := slices.ContainsFunc(s.Uses, func(names []string) bool { return slices.Contains(names, p.Name) })
		if !used {
			find(fmt.Sprintf("policies[%d]", i), "no route uses policy %s; remove it, or name it in a route", p.Name)
		}
		s.checkRequestable(i, known, find)
		for j, r := range p.Rules {
			path := fmt.Sprintf("policies[%d].rules[%d].", i, j)
			if r.Allow != nil {
				known.check(r.Allow, path+"allow", find)
				s.checkAttributes(r.Allow, path+"allow", find)
				if used && !s.reachable(p.Name, r.Allow.Paths) {
					find(path+"allow.paths", "no route with policy %s has such paths, so the rule allows nothing", p.Name)
				}
			} else if r.Deny != nil {
				known.check(r.Deny, path+"deny", find)
				s.checkAttributes(r.Deny, path+"deny", find)
			}
		}
	}
	s.checkReach(find)
	return findings
}

type findFunc func(path, format string, values ...any)

// known is what the directory has, for comparison with what rules name.
type known struct {
	byID, byName map[string]directory.Group
	users        map[string]bool // userNames and externalIds
	roles        map[string]bool
	attributes   []string
}

func (s Subject) known() known {
	k := known{byID: map[string]directory.Group{}, byName: map[string]directory.Group{}, users: map[string]bool{}, roles: map[string]bool{}}
	for _, g := range s.Groups {
		k.byID[g.ExternalID], k.byName[g.DisplayName] = g, g
	}
	attributes := map[string]bool{}
	asked := slices.ContainsFunc(s.Policies, asksForAttributes)
	for _, u := range s.Users {
		k.users[u.UserName], k.users[u.ExternalID] = true, true
		for _, role := range u.Roles {
			k.roles[role] = true
		}
		if !asked {
			continue
		}
		for name := range u.Attributes() {
			attributes[name] = true
		}
	}
	k.attributes = slices.Sorted(maps.Keys(attributes))
	return k
}

// asksForAttributes reports whether a condition asks for an attribute, which is found in the documents of users.
func asksForAttributes(p policy.Named) bool {
	return slices.ContainsFunc(p.Rules, func(r policy.Rule) bool {
		return r.Allow != nil && askedAttribute().MatchString(r.Allow.When) || r.Deny != nil && askedAttribute().MatchString(r.Deny.When)
	})
}

func (k known) check(m *policy.Match, path string, find findFunc) {
	for _, part := range []struct {
		key    string
		groups []policy.GroupRef
	}{{"groups", m.Groups}, {"all_groups", m.AllGroups}, {"unless_groups", m.UnlessGroups}} {
		for i, g := range part.groups {
			k.checkGroup(g, fmt.Sprintf("%s.%s[%d]", path, part.key, i), find)
		}
	}
	for _, part := range []struct {
		key   string
		names []string
	}{{"users", m.Users}, {"not_users", m.NotUsers}, {"reports_to", m.ReportsTo}, {"manager_of", m.ManagerOf}} {
		for i, name := range part.names {
			if !k.users[name] {
				find(fmt.Sprintf("%s.%s[%d]", path, part.key, i), "nobody who was pushed has the userName or externalId %q; `sallyport users list` shows who there is", name)
			}
		}
	}
	for i, role := range m.Roles {
		if len(m.Apps) == 0 && !k.roles[role] { // the roles of applications are in their tokens
			find(fmt.Sprintf("%s.roles[%d]", path, i), "no user was pushed with the role %q; assign it at the identity provider, or correct its name", role)
		}
	}
	k.checkCondition(m.When, path+".when", find)
}

func (k known) checkGroup(ref policy.GroupRef, path string, find findFunc) {
	g, ok := k.byID[ref.ID]
	if ref.ID == "" {
		g, ok = k.byName[ref.Name]
	}
	switch {
	case !ok && ref.ID != "" && k.byName[ref.Name].ExternalID != "":
		find(path, "no group with the id %s was pushed; the group that is called %s has the id %s", ref.ID, ref.Name, k.byName[ref.Name].ExternalID)
	case !ok:
		find(path, "the group was never pushed, so that nobody is in it; assign it to the application at the identity provider, or correct the id (`sallyport groups list` shows the groups)")
	case ref.Name != "" && ref.Name != g.DisplayName:
		find(path, "the group is called %q now; write name: %s", g.DisplayName, g.DisplayName)
	case g.Members == 0:
		find(path, "the group %s has no members (are the people in nested groups?)", g.DisplayName)
	}
}

// askedAttribute is a SCIM attribute that a condition asks for.
var askedAttribute = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`user\s*\.\s*attributes\s*(?:\.\s*([A-Za-z_]\w*)|\[\s*["']([^"']+)["']\s*\])`)
})

func (k known) checkCondition(when, path string, find findFunc) {
	for _, asked := range askedAttribute().FindAllStringSubmatch(when, -1) {
		name := asked[1] + asked[2]
		if slices.Contains(k.attributes, name) {
			continue
		}
		find(path, "no user was pushed with the attribute %s%s", name, policy.SuggestAttribute(name, k.attributes))
	}
}

// reachable reports whether a route with the policy has paths that one of patterns matches.
func (s Subject) reachable(name string, patterns []string) bool {
	if len(patterns) == 0 {
		return true
	}
	for i, r := range s.Routes {
		if slices.Contains(s.Uses[i], name) && slices.ContainsFunc(patterns, func(pattern string) bool { return matchesBelow(pattern, r.Path) }) {
			return true
		}
	}
	return false
}

// matchesBelow does not mind case, which makes no difference for some routes.
func matchesBelow(pattern, path string) bool {
	if decoded, err := url.PathUnescape(path); err == nil {
		path = decoded
	}
	return policy.MatchesBelow(strings.ToLower(pattern), strings.ToLower(path))
}

// checkAttributes reports attributes with values that no user has.
func (s Subject) checkAttributes(m *policy.Match, path string, find findFunc) {
	for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
		one := policy.Rule{Allow: &policy.Match{Attributes: map[string][]string{name: m.Attributes[name]}}}
		p, err := policy.Compile([]policy.Named{{Name: "attribute", Rules: []policy.Rule{one}}}, policy.Options{})
		if err != nil { // reported as a fault of the file
			continue
		}
		has := func(u *directory.User) bool {
			req := s.Scope.request()
			SetCaller(&req, u, "", nil)
			return p.Reaches(&req, s.Scope.known())
		}
		if !slices.ContainsFunc(s.Users, has) {
			find(path+".attributes."+name, "no user was pushed with %s: %s; does the identity provider push the attribute, and is the value spelled so?", name, strings.Join(m.Attributes[name], ", "))
		}
	}
}

// checkReach reports routes that nobody reaches, or everybody.
func (s Subject) checkReach(find findFunc) {
	counts, _ := CountReach(context.Background(), s.Routes, s.Users, s.Scope)
	active := len(slices.DeleteFunc(slices.Clone(s.Users), func(u *directory.User) bool { return u.Barred() != "" }))
	for i, r := range s.Routes {
		path := fmt.Sprintf("routes[%d].policy", i)
		switch c := counts[i]; {
		case c.Empty() && len(r.Policy.Offers()) > 0: // people ask when they need it
		case c.Empty():
			find(path, "nobody who was pushed, and no application, reaches route %s; `sallyport explain` says why for one user", r.Name)
		case c.Anyone:
			find(path, "anyone reaches route %s, signed in or not, at least in part (%s)", r.Name, strings.Join(s.Uses[i], ", "))
		case c.Users == active && active > 1:
			find(path, "every user reaches route %s, at least in part; name groups if that is not meant", r.Name)
		}
	}
}
