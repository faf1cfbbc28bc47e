package policy

import (
	"strings"
	"time"
)

// fact is something that a part of a rule asks about, beside the caller.
type fact uint8

const (
	factMethod fact = 1 << iota
	factPath
	factAddress
	factTime
	factLogin // when and how the caller signed in
	factRoles // those of an application are in its token
	factHost  // of a route with a wildcard
)

// Known says which facts of a request are known. The caller always is, but for the roles
// of an application if the request has none. The host is, unless the request has a wildcard
// such as *.apps.example.com in its place.
type Known struct{ Method, Path, Address, Time bool }

func (k Known) facts(req *Request) (known fact) {
	if req.App == "" || req.Roles != nil {
		known |= factRoles
	}
	if !strings.HasPrefix(req.Host, "*.") {
		known |= factHost
	}
	if k.Method {
		known |= factMethod
	}
	if k.Path {
		known |= factPath
	}
	if k.Address {
		known |= factAddress
	}
	if k.Time {
		known |= factTime
	}
	return known
}

// Way is a rule that applies to a caller if every one of its conditions holds.
type Way struct {
	Rule  string      `json:"rule"`
	If    []Condition `json:"if,omitempty"`
	Until time.Time   `json:"until,omitzero"` // when the rule ends; zero if it does not, or if the time of the request is known
}

// Unconditional reports whether nothing is a condition.
func (w Way) Unconditional() bool { return len(w.If) == 0 && w.Until.IsZero() }

// Condition is a part of a rule that asks about a fact that is not known.
type Condition struct {
	Part string `json:"part"`
	Text string `json:"text"`
}

// Reach returns how the rules in force apply to a caller of whose request only some
// facts are known: the rules that let the caller in, and those that keep the caller out
// of something. If a rule without conditions keeps the caller out of everything,
// allowed is empty and denied is that rule.
func (p *Policy) Reach(req *Request, known Known) (allowed, denied []Way) {
	facts := known.facts(req)
	for i := range p.rules {
		r := &p.rules[i]
		way, ok := r.way(req, facts)
		switch {
		case r.report || !ok:
		case r.allow:
			allowed = append(allowed, way)
		case len(way.If) == 0:
			return nil, []Way{way}
		default:
			denied = append(denied, way)
		}
	}
	if len(allowed) == 0 {
		return nil, nil
	}
	return allowed, denied
}

// Reaches reports whether [Policy.Reach] returns a rule that lets the caller in. It
// allocates only to evaluate conditions.
func (p *Policy) Reaches(req *Request, known Known) bool {
	facts, allowed := known.facts(req), false
	for i := range p.rules {
		r := &p.rules[i]
		if r.report || r.allow && allowed {
			continue
		}
		applies, conditional := r.applies(req, facts)
		switch {
		case !applies:
		case r.allow:
			allowed = true
		case !conditional:
			return false
		}
	}
	return allowed
}

// applies reports whether the rule may apply to the caller, and whether that depends on
// facts that are not known.
func (r *rule) applies(req *Request, known fact) (applies, conditional bool) {
	if !r.end.IsZero() && !req.Time.Before(r.end) {
		return false, false
	}
	if r.grant != "" && !r.granted(req) {
		return false, false
	}
	for i := range r.parts {
		switch part := &r.parts[i]; {
		case part.asks&^known != 0:
			conditional = conditional || part.written
		case !part.matches(req):
			return false, false
		}
	}
	return true, conditional
}

// way returns the rule with the conditions that are left of it, or false if it does not
// apply whatever the unknown facts are.
func (r *rule) way(req *Request, known fact) (way Way, ok bool) {
	if !r.end.IsZero() && !req.Time.Before(r.end) {
		return way, false
	}
	if r.grant != "" && !r.granted(req) {
		return way, false
	}
	way.Rule = r.name
	if known&factTime == 0 {
		way.Until = r.end
		if r.grant != "" {
			way.Until = Earlier(r.end, req.Grants.Until(r.grant))
		}
	}
	for i := range r.parts {
		part := &r.parts[i]
		switch {
		case part.asks&^known == 0:
			if !part.matches(req) {
				return way, false
			}
		case part.written:
			way.If = append(way.If, Condition{part.key, part.text})
		}
	}
	return way, true
}
