package policy

import (
	"fmt"
	"slices"
	"time"
)

// rule is a compiled rule. It matches a request if all its parts do.
type rule struct {
	name          string
	allow, report bool
	parts         []compiledPart
	callers       []callerPart // of parts: those about the caller alone
	asked         []matcher    // of parts: those that neither callers nor the index has, without when and those about the login
	when          *when        // unless it is among callers; nil if there is none
	changers      []changer    // of the parts that depend on the time
	login         *Login       // that is demanded of the caller; nil if any will do
	end           time.Time    // of until; zero if the rule does not end
	grant         string       // the policy of which the user must have a grant; "" if none is needed
}

type compiledPart struct {
	key     string
	text    string // what is written, or what its absence stands for
	written bool
	groups  []GroupRef // of which the part wants membership
	asks    fact
	matches matcher
}

func compileRule(name string, written Rule) (rule, error) {
	m, allow := written.Allow, true
	if m == nil {
		m, allow = written.Deny, false
	}
	r := rule{name: name, allow: allow, report: written.Mode == modeReport, login: m.login()}
	if written.Until != "" {
		var err error
		if r.end, err = ParseEnd(written.Until); err != nil {
			return rule{}, err
		}
	}
	for i := range parts {
		matches, err := parts[i].matcher(m, allow)
		if err != nil {
			return rule{}, err
		}
		if matches != nil {
			r.addPart(&parts[i], m, matches)
		}
		if parts[i].changes != nil && parts[i].written(m) {
			r.changers = append(r.changers, parts[i].changes(m))
		}
	}
	r.parts, r.callers = slices.Clone(r.parts), slices.Clone(r.callers) // there may be many rules: without room for more
	return r, nil
}

// addPart adds a part of the rule to those that are asked in the same way.
func (r *rule) addPart(p *part, m *Match, matches matcher) {
	c := compiledPart{key: p.key, text: p.stands, asks: p.asks, matches: matches}
	if c.written = p.written(m); c.written {
		c.text = p.text(m)
	}
	about, reads := p.about, p.reads
	switch p.key {
	case partWhen:
		w, _ := newWhen(m.When, r.allow) // matches is of it, so there is no error
		if c.asks, reads = w.asks, w.reads; c.asks&^factRoles == 0 {
			about = aboutCaller
		} else {
			r.when = w
		}
	case partGroups:
		c.groups = m.Groups
	case partAllGroups:
		c.groups = m.AllGroups
	}
	if p.ofMembers && r.allow {
		reads |= readsGrants
	}
	r.parts = append(r.parts, c)
	switch about {
	case aboutCaller:
		r.callers = append(r.callers, callerPart{key: c.key, reads: reads | readsCaller, matches: matches})
	case aboutRequest:
		r.asked = append(r.asked, matches)
	}
}

// keyUntil is the key of the time at which a rule ends.
const keyUntil = "until"

// ParseEnd parses the time at which a rule ends: an RFC 3339 time, or a day, which
// ends at midnight UTC.
func ParseEnd(text string) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	end, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no time; write a day such as 2027-01-31, or a time such as 2027-01-31T18:00:00+01:00", text)
	}
	return end.UTC(), nil
}

// misses returns the key of the first part that does not match, or "".
func (r *rule) misses(req *Request) string {
	if !r.end.IsZero() && !req.Time.Before(r.end) {
		return keyUntil
	}
	if r.grant != "" && !r.granted(req) {
		return partGrant
	}
	for i := range r.parts {
		if p := &r.parts[i]; !p.matches(req) {
			return p.key
		}
	}
	return ""
}

// until returns until when the rule applies to the request as it does now; zero if the
// time makes no difference.
func (r *rule) until(req *Request) (end time.Time) {
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

// Earlier returns the earlier of two times, of which zero is never.
func Earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// loginReason returns why the login of a caller who misses nothing else is not enough.
func (r *rule) loginReason(req *Request) Reason {
	if r.login.Enough(req.Strength) {
		return LoginTooOld
	}
	return LoginTooWeak
}

// demandsLess reports whether the caller, to whom two rules apply but for their login, should be told of this rule and not of
// the other: one that demands no stronger login comes first, then one that accepts an older one.
func (r *rule) demandsLess(req *Request, other *rule) bool {
	if reason := r.loginReason(req); reason != other.loginReason(req) {
		return reason == LoginTooOld
	}
	return other.login.MaxAge > 0 && (r.login.MaxAge == 0 || r.login.MaxAge > other.login.MaxAge)
}
