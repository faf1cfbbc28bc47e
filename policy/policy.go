// Package policy decides: given who is calling and what they ask for, may they?
//
// A decision is a pure function of the rules and the request. Nothing is allowed
// that no rule allows, and one rule that denies outweighs all that allow. What
// cannot be evaluated never works in the caller's favour.
package policy

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Reason says why a decision is as it is; the set is closed.
type Reason string

// The reasons of decisions.
const (
	RuleAllow Reason = "rule_allow" // the named rule allows, and none denies
	RuleDeny  Reason = "rule_deny"  // the named rule denies
	NoRule    Reason = "no_rule"    // no rule allows

	LoginTooOld Reason = "login_too_old" // the named rule would allow, had the caller signed in more recently
)

// Named is a list of rules with a name, as written under policies.
type Named struct {
	Name  string `yaml:"name" doc:"what routes call it"`
	Rules []Rule `yaml:"rules" doc:"allow and deny rules; their order does not matter"`
}

// Rule is one rule as written: exactly one of Allow and Deny.
type Rule struct {
	Allow *Match `yaml:"allow" doc:"callers and requests that may pass"`
	Deny  *Match `yaml:"deny" doc:"callers and requests that may not, whatever else allows them"`
	Mode  string `yaml:"mode" doc:"report: decide and record, but do not enforce"`
}

// Match says which requests a rule is about. Every part that is written must
// match; within a part, one element suffices.
type Match struct {
	Groups       []GroupRef    `yaml:"groups" doc:"members of any of these groups"`
	UnlessGroups []GroupRef    `yaml:"unless_groups" doc:"not members of any of these groups"`
	Users        []string      `yaml:"users" doc:"these users, by userName or externalId, exactly"`
	Roles        []string      `yaml:"roles" doc:"holders of any of these roles; with apps, roles that the token gives the application"`
	Apps         []string      `yaml:"apps" doc:"these applications, by client ID, calling for themselves (client credentials)"`
	Methods      []string      `yaml:"methods" doc:"these HTTP methods; when absent in an allow rule, the usual ones"`
	Paths        []string      `yaml:"paths" doc:"these paths: whole segments, * for one segment, /** at the end for the path before it and all below"`
	When         string        `yaml:"when" doc:"a CEL condition on request and user"`
	MaxAuthAge   time.Duration `yaml:"max_auth_age" doc:"callers who proved who they are no longer ago than this; in an allow rule"`
	Anyone       bool          `yaml:"anyone" doc:"true: everybody, signed in or not"`
}

// GroupRef names a group: by the object ID that is pushed as its externalId, with
// its name as a comment; or by name alone where group names are trusted.
type GroupRef struct {
	ID   string `yaml:"id" doc:"the group's object ID (SCIM externalId)"`
	Name string `yaml:"name" doc:"the group's displayName: a comment beside id, or alone with trust_group_names"`
}

// Options are what Compile needs to know beside the rules.
type Options struct {
	TrustGroupNames bool // a rule may name a group by its displayName alone
}

// Request is all a decision depends on.
type Request struct {
	Anonymous                    bool   // nobody has proved who they are; all of the user's fields are empty
	App                          string // client ID of the application that calls for itself; then of the user's fields only Roles is set
	UserID, UserName, ExternalID string
	GroupIDs, GroupNames         []string // parallel; GroupIDs sorted, "" for a group that has none
	Roles                        []string
	Attributes                   Attributes // nil for none
	Method, Host, Path           string     // Path is canonical
	Time                         time.Time
	Authenticated                time.Time // when the caller proved who they are; zero: not known
}

// Attributes gives a user's SCIM document to the conditions that ask for it.
type Attributes interface{ Attributes() map[string]any }

// Decision is the answer, with the rule it rests on ("sre[0]"; "" for NoRule).
// Report is what it would be if rules in report mode counted; nil if the same.
type Decision struct {
	Verdict
	Report *Verdict
}

// Verdict is what rules come to.
type Verdict struct {
	Allow  bool
	Rule   string
	Reason Reason
	MaxAge time.Duration // of LoginTooOld: how recent a login the rule asks for
	Until  time.Time     // of an allow that a login must be recent for: when it is no more; zero: that does not matter
}

// Policy is a compiled list of rules; it never changes.
type Policy struct {
	rules   []rule
	reports bool // some rule is in report mode
	ids     []string
	names   []string
	anyone  bool
}

// Compile turns rules into a policy, or says everything that is wrong with them.
func Compile(lists []Named, o Options) (*Policy, error) {
	if err := faults(lists, o); err != nil {
		return nil, err
	}
	p := &Policy{}
	for _, list := range lists {
		for i, written := range list.Rules {
			r, err := compileRule(fmt.Sprintf("%s[%d]", list.Name, i), written)
			if err != nil {
				return nil, err
			}
			p.add(r)
		}
	}
	slices.Sort(p.ids)
	slices.Sort(p.names)
	p.ids, p.names = slices.Compact(p.ids), slices.Compact(p.names)
	return p, nil
}

func faults(lists []Named, o Options) error {
	var errs []error
	for i, list := range lists {
		list.Check(o, func(path, problem string) {
			errs = append(errs, fmt.Errorf("policies[%d].%s: %s", i, path, problem))
		})
	}
	return errors.Join(errs...)
}

func (p *Policy) add(r rule) {
	p.rules = append(p.rules, r)
	p.reports = p.reports || r.report
	p.anyone = p.anyone || r.allow && r.anyone && !r.report
	for _, g := range slices.Concat(r.groups, r.unlessGroups) {
		if g.ID != "" {
			p.ids = append(p.ids, g.ID)
		} else {
			p.names = append(p.names, g.Name)
		}
	}
}

// GroupIDs are the object IDs of the groups that the rules name, sorted.
func (p *Policy) GroupIDs() []string { return p.ids }

// GroupNames are the names of the groups that the rules name by name alone, sorted.
func (p *Policy) GroupNames() []string { return p.names }

// AllowsAnyone says whether some rule lets callers in who are not signed in.
func (p *Policy) AllowsAnyone() bool { return p.anyone }

// Decide answers. It has no effects and, without when, allocates nothing.
func (p *Policy) Decide(r *Request) Decision {
	v := p.verdict(r, false)
	d := Decision{Verdict: v}
	if p.reports {
		if would := p.verdict(r, true); would.Allow != v.Allow {
			d.Report = &would
		}
	}
	return d
}

// verdict decides with the rules in force and, if asked, those in report mode.
func (p *Policy) verdict(r *Request, reports bool) Verdict {
	v := Verdict{Reason: NoRule}
	for i := range p.rules {
		rule := &p.rules[i]
		if rule.report && !reports || v.Allow && rule.allow {
			continue
		}
		switch rule.misses(r) {
		case "":
		case partMaxAuthAge: // all else matches; the rule that asks for least is told
			if v.Reason == NoRule || v.Reason == LoginTooOld && rule.maxAge > v.MaxAge {
				v = Verdict{Rule: rule.name, Reason: LoginTooOld, MaxAge: rule.maxAge}
			}
			continue
		default:
			continue
		}
		if !rule.allow {
			return Verdict{Rule: rule.name, Reason: RuleDeny}
		}
		v = Verdict{Allow: true, Rule: rule.name, Reason: RuleAllow, Until: rule.until(r)}
	}
	return v
}

// Step is what one rule made of a request.
type Step struct {
	Rule    string `json:"rule"`
	Effect  string `json:"effect"` // allow or deny
	Mode    string `json:"mode,omitempty"`
	Matched bool   `json:"matched"`
	Missed  string `json:"missed,omitempty"` // the part that did not match
}

// Explain is the trace of a decision: every rule, in order.
func (p *Policy) Explain(r *Request) []Step {
	steps := make([]Step, 0, len(p.rules))
	for i := range p.rules {
		rule := &p.rules[i]
		missed := rule.misses(r)
		s := Step{Rule: rule.name, Effect: "deny", Matched: missed == "", Missed: missed}
		if rule.allow {
			s.Effect = "allow"
		}
		if rule.report {
			s.Mode = "report"
		}
		steps = append(steps, s)
	}
	return steps
}
