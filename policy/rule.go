package policy

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// rule is one rule, compiled.
type rule struct {
	name                 string
	allow, report        bool
	anyone               bool
	groups, unlessGroups []GroupRef
	users, roles, apps   []string
	methods              []string
	paths                []glob
	when                 *condition
	maxAge               time.Duration // 0: a login of any age
}

// partMaxAuthAge is looked at last: who misses it alone may sign in again.
const partMaxAuthAge = "max_auth_age"

// usual are the methods that an allow rule without methods is about. Any other
// must be named.
var usual = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}

func compileRule(name string, written Rule) (rule, error) {
	m, allow := written.Allow, true
	if m == nil {
		m, allow = written.Deny, false
	}
	r := rule{name: name, allow: allow, report: written.Mode == modeReport, anyone: m.Anyone,
		groups: m.Groups, unlessGroups: m.UnlessGroups, users: m.Users, roles: m.Roles, apps: m.Apps, methods: m.Methods, maxAge: m.MaxAuthAge}
	if allow && len(r.methods) == 0 {
		r.methods = usual
	}
	for _, path := range m.Paths {
		r.paths = append(r.paths, glob(path))
	}
	var err error
	if m.When != "" {
		r.when, err = compileCondition(m.When)
	}
	return r, err
}

// misses is the part of the rule that r does not match, or "". An allow rule lets
// an application in only by its ID, whatever roles it has. An allow rule
// misses whoever is not signed in unless it says anyone; a deny rule holds for
// them too, and its caller parts (which they cannot have) decide as written.
func (r *rule) misses(q *Request) string {
	switch {
	case r.allow && q.Anonymous && !r.anyone:
		return "anyone"
	case r.allow && q.App != "" && !r.anyone && len(r.apps) == 0, len(r.apps) > 0 && !slices.Contains(r.apps, q.App):
		return "apps"
	case len(r.methods) > 0 && !slices.Contains(r.methods, q.Method):
		return "methods"
	case len(r.paths) > 0 && !r.matchesPath(q.Path):
		return "paths"
	case len(r.users) > 0 && !r.matchesUser(q):
		return "users"
	case len(r.groups) > 0 && !memberOfAny(q, r.groups):
		return "groups"
	case len(r.unlessGroups) > 0 && memberOfAny(q, r.unlessGroups):
		return "unless_groups"
	case len(r.roles) > 0 && !slices.ContainsFunc(r.roles, func(role string) bool { return slices.Contains(q.Roles, role) }):
		return "roles"
	case r.when != nil && !r.when.holds(q, !r.allow):
		return "when"
	case r.maxAge > 0 && !q.Time.Before(r.until(q)):
		return partMaxAuthAge
	}
	return ""
}

// until is when the caller's login is too old for the rule; zero where that does
// not matter. A login of an unknown time is too old.
func (r *rule) until(q *Request) time.Time {
	if r.maxAge == 0 {
		return time.Time{}
	}
	return q.Authenticated.Add(r.maxAge)
}

func (r *rule) matchesPath(path string) bool {
	for _, g := range r.paths {
		if g.matches(path) {
			return true
		}
	}
	return false
}

// matchesUser compares exactly. An empty name is nobody's.
func (r *rule) matchesUser(q *Request) bool {
	for _, user := range r.users {
		if user == q.UserName || user == q.ExternalID {
			return true
		}
	}
	return false
}

func memberOfAny(q *Request, groups []GroupRef) bool {
	for _, g := range groups {
		if g.ID != "" {
			if _, is := slices.BinarySearch(q.GroupIDs, g.ID); is {
				return true
			}
		} else if slices.Contains(q.GroupNames, g.Name) {
			return true
		}
	}
	return false
}

// glob is a pattern of whole segments: * stands for one segment; /** at the end
// for the path before it and everything below. (A deny of /secret/** that left
// /secret open would surprise whoever wrote it.)
type glob string

func (g glob) matches(path string) bool {
	pattern := string(g)
	for {
		if pattern == "/**" {
			return true
		}
		want, restPattern := segment(pattern)
		got, restPath := segment(path)
		if want != got && !(want == "/*" && len(got) > 1) {
			return false
		}
		if restPath == "" {
			return restPattern == "" || restPattern == "/**"
		}
		if restPattern == "" {
			return false
		}
		pattern, path = restPattern, restPath
	}
}

// segment splits off the first segment, with its slash.
func segment(path string) (first, rest string) {
	if end := strings.IndexByte(path[1:], '/'); end >= 0 {
		return path[:end+1], path[end+1:]
	}
	return path, ""
}
