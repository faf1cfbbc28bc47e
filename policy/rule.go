package policy

import "time"

// rule is a compiled rule. It matches a request if all its parts do.
type rule struct {
	name          string
	allow, report bool
	parts         []compiledPart
	maxAge        time.Duration // of max_auth_age; 0 if a login of any age will do
}

type compiledPart struct {
	key     string
	matches matcher
}

func compileRule(name string, written Rule) (rule, error) {
	m, allow := written.Allow, true
	if m == nil {
		m, allow = written.Deny, false
	}
	r := rule{name: name, allow: allow, report: written.Mode == modeReport, maxAge: m.MaxAuthAge}
	for i := range parts {
		matches, err := parts[i].matcher(m, allow)
		if err != nil {
			return rule{}, err
		}
		if matches != nil {
			r.parts = append(r.parts, compiledPart{parts[i].key, matches})
		}
	}
	return r, nil
}

// misses returns the key of the first part that does not match, or "".
func (r *rule) misses(req *Request) string {
	for i := range r.parts {
		if p := &r.parts[i]; !p.matches(req) {
			return p.key
		}
	}
	return ""
}

// until returns when the caller's login becomes too old for the rule; zero if its
// age does not matter.
func (r *rule) until(req *Request) time.Time {
	if r.maxAge == 0 {
		return time.Time{}
	}
	return req.Authenticated.Add(r.maxAge)
}
