package policy

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
)

// Naive decides as [Policy] does, but asks every rule, one after the other, and remembers nothing. It is the model that
// tests hold Policy against. Of the code of the package it uses only what reads one part of a rule that Policy neither
// indexes nor remembers: networks, hours, attributes, the organization and the login.
type Naive struct {
	rules   []naiveRule
	reports bool
}

type naiveRule struct {
	name          string
	allow, report bool
	parts         []naivePart
	changers      []changer
	login         *Login
	end           time.Time
	grant         string
}

type naivePart struct {
	key     string
	matches matcher
}

// NewNaive compiles rules that [Compile] accepts.
func NewNaive(lists []Named) *Naive {
	n := &Naive{}
	for _, list := range lists {
		for i, written := range list.Rules {
			n.add(fmt.Sprintf("%s[%d]", list.Name, i), written, "")
		}
		if list.Requestable != nil {
			n.add(list.Name+grantRule, list.Requestable.rule(), list.Name)
		}
	}
	return n
}

func (n *Naive) add(name string, written Rule, grant string) {
	m, allow := written.Allow, true
	if m == nil {
		m, allow = written.Deny, false
	}
	r := naiveRule{name: name, allow: allow, report: written.Mode == modeReport, login: m.login(), grant: grant}
	if written.Until != "" {
		r.end, _ = ParseEnd(written.Until)
	}
	part := func(key string, matches matcher) {
		if matches != nil {
			r.parts = append(r.parts, naivePart{key, matches})
		}
	}
	if allow && !m.Anyone {
		part("anyone", func(req *Request) bool { return !req.Anonymous })
	}
	if len(m.Apps) > 0 {
		part("apps", func(req *Request) bool { return slices.Contains(m.Apps, req.App) })
	} else if allow && !m.Anyone {
		part("apps", func(req *Request) bool { return req.App == "" })
	}
	part("methods", naiveMethods(m, allow))
	part("paths", naivePaths(m, allow))
	part("users", naiveUsers(m.Users, true))
	part("not_users", naiveUsers(m.NotUsers, false))
	part(partGroups, naiveGroups(m.Groups, allow))
	for _, g := range m.AllGroups {
		part(partAllGroups, naiveGroups([]GroupRef{g}, allow))
	}
	if member := naiveGroups(m.UnlessGroups, false); member != nil {
		part("unless_groups", func(req *Request) bool { return !member(req) })
	}
	if len(m.Roles) > 0 {
		part(partRoles, func(req *Request) bool {
			return slices.ContainsFunc(m.Roles, func(role string) bool { return slices.Contains(req.Roles, role) })
		})
	}
	for i := range parts {
		p := &parts[i]
		if p.written(m) && slices.Contains([]string{"networks", "hours", "reports_to", "manager_of", "attributes"}, p.key) {
			matches, _ := p.compile(m, allow)
			part(p.key, matches)
		}
		if p.written(m) && p.changes != nil {
			r.changers = append(r.changers, p.changes(m))
		}
	}
	if m.When != "" {
		part(partWhen, naiveWhen(m.When, allow))
	}
	if r.login != nil {
		part(partAuth, func(req *Request) bool { return r.login.recent(req) && r.login.Enough(req.Strength) })
	}
	n.rules, n.reports = append(n.rules, r), n.reports || r.report
}

func naiveMethods(m *Match, allow bool) matcher {
	usual := []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}
	switch {
	case slices.Contains(m.Methods, anyMethod) || len(m.Methods) == 0 && !allow:
		return nil
	case len(m.Methods) > 0:
		usual = m.Methods
	}
	return func(req *Request) bool { return slices.Contains(usual, req.Method) }
}

func naivePaths(m *Match, allow bool) matcher {
	if len(m.Paths) == 0 {
		return nil
	}
	return func(req *Request) bool {
		return slices.ContainsFunc(m.Paths, func(pattern string) bool { return naiveGlob(pattern, req.Path, allow) })
	}
}

// naiveGlob reports whether a pattern of an allow or deny rule matches a path.
func naiveGlob(pattern, path string, allow bool) bool {
	slash := !allow && pattern != "/"
	if slash {
		pattern = strings.TrimSuffix(pattern, "/")
	}
	pattern, below := strings.CutSuffix(pattern, "/**")
	for pattern != "" {
		if path == "" {
			return false
		}
		var want, got string
		want, pattern = cutSegment(pattern)
		got, path = cutSegment(path)
		if want != got && (want != "/*" || len(got) == 1) {
			return false
		}
	}
	return path == "" || below || slash && path == "/"
}

func naiveUsers(users []string, want bool) matcher {
	if len(users) == 0 {
		return nil
	}
	return func(req *Request) bool {
		return slices.ContainsFunc(users, func(user string) bool { return user == req.UserName || user == req.ExternalID }) == want
	}
}

func naiveGroups(groups []GroupRef, allow bool) matcher {
	if len(groups) == 0 {
		return nil
	}
	return func(req *Request) bool {
		return slices.ContainsFunc(groups, func(g GroupRef) bool {
			for i := range req.GroupIDs {
				member := req.GroupIDs[i] == g.ID
				if g.ID == "" {
					member = req.GroupNames[i] == g.Name
				}
				if member && !(allow && req.Grants != nil && req.Grants.Revoked(cmp.Or(g.ID, req.GroupIDs[i], g.Name))) {
					return true
				}
			}
			return false
		})
	}
}

// naiveWhen evaluates a condition by CEL alone.
func naiveWhen(text string, allow bool) matcher {
	env, _ := environment()
	ast, _ := env.Compile(text)
	program, err := env.Program(ast, cel.CostLimit(costLimit), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		panic(err)
	}
	holds := func(req *Request) bool {
		attributes := map[string]any{}
		if req.Attributes != nil {
			attributes = req.Attributes.Attributes()
		}
		out, _, err := program.Eval(map[string]any{
			"request.method": req.Method, "request.host": req.Host, "request.path": req.Path, "request.time": req.Time.UTC(),
			"user.id": req.UserID, "user.userName": req.UserName, "user.externalId": req.ExternalID, "user.app": req.App,
			"user.groups": req.GroupIDs, "user.groupNames": req.GroupNames, "user.roles": req.Roles, "user.attributes": attributes,
		})
		if err != nil {
			return !allow
		}
		if holds, ok := out.Value().(bool); ok {
			return holds
		}
		return !allow
	}
	if allow || !strings.Contains(text, "path") {
		return holds
	}
	ends := slices.DeleteFunc(pathLiterals(text), func(text string) bool { return len(text) < 2 || !strings.HasSuffix(text, "/") })
	return func(req *Request) bool {
		path, ok := servedAlike(req.Path, ends)
		alike := *req
		alike.Path = path
		return holds(req) || ok && holds(&alike)
	}
}

// Decide decides about a request.
func (n *Naive) Decide(req *Request) (d Decision) {
	d.Verdict = n.verdict(req, false)
	if req.Grants != nil && d.Reason == NoRule {
		before := *req
		before.Grants = unrevoked{req.Grants}
		if v := n.verdict(&before, false); v.Allow {
			d.Verdict = Verdict{Rule: v.Rule, Reason: AccessRevoked}
		}
	}
	if n.reports {
		if would := n.verdict(req, true); would.Allow != d.Allow {
			d.Report = &would
		}
	}
	return d
}

func (n *Naive) verdict(req *Request, reports bool) Verdict {
	v := Verdict{Reason: NoRule}
	var until time.Time
	for i := range n.rules {
		rule := &n.rules[i]
		if rule.report && !reports || v.Allow && rule.allow {
			continue
		}
		switch rule.misses(req) {
		case "":
		case partAuth:
			if !v.Allow && rule.demandsLess(req, v) {
				v = Verdict{Rule: rule.name, Reason: rule.loginReason(req), Login: rule.login}
			}
			continue
		default:
			if !rule.allow {
				until = Earlier(until, rule.until(req))
			}
			continue
		}
		if !rule.allow {
			return Verdict{Rule: rule.name, Reason: RuleDeny}
		}
		v = Verdict{Allow: true, Rule: rule.name, Reason: RuleAllow, Until: rule.until(req)}
	}
	if v.Allow {
		v.Until = Earlier(v.Until, until)
	}
	return v
}

func (r *naiveRule) misses(req *Request) string {
	if !r.end.IsZero() && !req.Time.Before(r.end) {
		return keyUntil
	}
	if r.grant != "" && (req.Grants == nil || !req.Grants.Until(r.grant).After(req.Time)) {
		return partGrant
	}
	for _, p := range r.parts {
		if !p.matches(req) {
			return p.key
		}
	}
	return ""
}

func (r *naiveRule) until(req *Request) (end time.Time) {
	if r.end.After(req.Time) {
		end = r.end
	}
	if r.grant != "" && req.Grants != nil {
		end = Earlier(end, req.Grants.Until(r.grant))
	}
	for _, change := range r.changers {
		if next := change(req); next.After(req.Time) {
			end = Earlier(end, next)
		}
	}
	return end
}

func (r *naiveRule) loginReason(req *Request) Reason {
	if r.login.Enough(req.Strength) {
		return LoginTooOld
	}
	return LoginTooWeak
}

func (r *naiveRule) demandsLess(req *Request, v Verdict) bool {
	if v.Login == nil {
		return true
	}
	if reason := r.loginReason(req); reason != v.Reason {
		return reason == LoginTooOld
	}
	return v.Login.MaxAge > 0 && (r.login.MaxAge == 0 || r.login.MaxAge > v.Login.MaxAge)
}

// Remember has a policy remember callers, however few rules it has, in so many bytes, or none at 0.
func Remember(p *Policy, limit int64) {
	switch {
	case limit == OneCaller:
		p.memory = newMemoryOf(callerBytes/4, 0)
		p.memory.limit = 4 * callerBytes
	case limit > 0:
		p.memory = newMemoryOf(limit, len(p.rules))
	default:
		p.memory = nil
	}
}

// OneCaller is a limit for Remember with which a policy of few rules remembers one caller, by one method, and has one slot.
const OneCaller = -1

// Remembered returns how many callers the policy remembers by a method each, and in how many bytes.
func Remembered(p *Policy) (callers int, size int64) {
	for i := range p.memory.slots {
		if p.memory.slots[i].Load() != nil {
			callers++
		}
	}
	return callers, p.memory.size.Load()
}

// NaiveGlob reports whether a pattern of a rule matches a path.
var NaiveGlob = naiveGlob
