package policy

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

const modeReport = "report"

const maxName = 63

// nameForm matches a name, but for its length: a start compiles it, and {0,62} would take ten times as long.
var nameForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`) })

// Check reports every fault of the list.
func (n Named) Check(o Options, fault func(path, problem string)) {
	if len(n.Name) > maxName || !nameForm().MatchString(n.Name) {
		fault("name", "must be 1 to 63 letters, digits, dots, dashes and underscores")
	}
	if len(n.Rules) == 0 && n.Requestable == nil { // with requestable, nobody may have standing access
		fault("rules", "has no rule; write at least one allow, such as allow: {groups: [{id: …}]}")
	}
	for i, r := range n.Rules {
		r.check(o, below("rules"+index(i), fault))
	}
	if n.Requestable != nil {
		n.Requestable.check(o, below("requestable", fault))
	}
}

func (r Rule) check(o Options, fault faultFunc) {
	if (r.Allow == nil) == (r.Deny == nil) {
		fault("", "must have exactly one of allow and deny, with what it is about")
	}
	if r.Mode != "" && r.Mode != modeReport {
		fault(".mode", fmt.Sprintf("%q is not known; write report, or leave mode out to enforce the rule", r.Mode))
	}
	if r.Until != "" {
		if _, err := ParseEnd(r.Until); err != nil {
			fault(".until", err.Error())
		}
	}
	if r.Allow != nil {
		r.Allow.check(o, below(".allow", fault))
		r.Allow.checkAllow(below(".allow", fault))
	}
	if r.Deny != nil {
		r.Deny.check(o, below(".deny", fault))
		r.Deny.checkDeny(below(".deny", fault))
	}
}

// check reports the faults of each part by itself, and of parts that exclude each other.
func (m *Match) check(o Options, fault faultFunc) {
	for i := range parts {
		if p := &parts[i]; p.check != nil && p.written(m) {
			p.check(m, o, below("."+p.key, fault))
		}
	}
	if len(m.Apps) > 0 && m.writes(ofUsers) {
		fault(".apps", fmt.Sprintf("cannot match together with %s, which no application has; write a rule of its own", list(ofUsers, "or")))
	}
	if len(m.Apps) > 0 && m.MaxAuthAge != 0 {
		fault(".max_auth_age", "means nothing for applications, which do not sign in")
	}
	if m.Anyone && m.MaxAuthAge != 0 {
		fault(".max_auth_age", "asks for a login, and anyone for none; leave one of them out")
	}
	if m.Anyone && m.Auth != nil {
		fault(".auth", "asks for a login, and anyone for none; leave one of them out")
	}
	if len(m.Apps) > 0 && m.Auth != nil {
		fault(".auth", "means nothing for applications, which do not sign in")
	}
}

// checkAllow rejects rules that let in more people than they seem to.
func (m *Match) checkAllow(fault faultFunc) {
	switch {
	case m.Anyone && m.writes(aboutCallers):
		fault(".anyone", fmt.Sprintf("is for everybody; leave out %s, or leave out anyone", list(aboutCallers, "and")))
	case m.Anyone && strings.Contains(m.When, "user."):
		fault(".when", "cannot ask about the user in a rule for anyone, who may not be signed in")
	case !m.Anyone && !m.writes(namesCallers) && m.When == "":
		fault("", fmt.Sprintf("names no %s; name some, or write anyone: true to open it to all", list(namesCallers, "or")))
	}
}

// checkDeny rejects parts that only an allow rule can have.
func (m *Match) checkDeny(fault faultFunc) {
	for i := range parts {
		if p := &parts[i]; p.inDeny != "" && p.written(m) {
			fault("."+p.key, p.inDeny)
		}
	}
}

func ofUsers(p *part) bool      { return p.ofUsers }
func namesCallers(p *part) bool { return p.names }
func aboutCallers(p *part) bool { return p.names || p.ofUsers }

// writes reports whether the rule has one of the parts that include selects.
func (m *Match) writes(include func(*part) bool) bool {
	for i := range parts {
		if include(&parts[i]) && parts[i].written(m) {
			return true
		}
	}
	return false
}

// list returns the keys of the parts that include selects, as an enumeration.
func list(include func(*part) bool, conjunction string) string {
	keys := keysOf(include)
	last := len(keys) - 1
	return strings.Join(keys[:last], ", ") + " " + conjunction + " " + keys[last]
}

// keysOf returns the keys of the parts that include selects.
func keysOf(include func(*part) bool) (keys []string) {
	for i := range parts {
		if include(&parts[i]) {
			keys = append(keys, parts[i].key)
		}
	}
	return keys
}

// below prefixes the paths of faults.
func below(prefix string, fault faultFunc) faultFunc {
	return func(path, problem string) { fault(prefix+path, problem) }
}
