// Package policy decides whether a caller may make a request.
//
// A decision is a pure function of the rules and the request. Nothing is allowed
// unless a rule allows it, and one rule that denies outweighs all that allow.
// Whatever cannot be evaluated counts against the caller.
package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"time"
)

// Reason is why a request was allowed or denied; the set is closed.
type Reason string

// The reasons of decisions.
const (
	RuleAllow Reason = "rule_allow" // the named rule allows, and none denies
	RuleDeny  Reason = "rule_deny"  // the named rule denies
	NoRule    Reason = "no_rule"    // no rule allows

	AccessRevoked Reason = "access_revoked" // the named rule would allow, had no review revoked a membership

	LoginTooOld  Reason = "login_too_old"  // the named rule would allow, had the caller signed in more recently
	LoginTooWeak Reason = "login_too_weak" // the named rule would allow, had the caller signed in more strongly
)

// Named is a list of rules with a name: one entry under policies.
type Named struct {
	Name  string `yaml:"name" doc:"what routes call it"`
	Rules []Rule `yaml:"rules" doc:"allow and deny rules; their order does not matter"`

	Requestable *Requestable `yaml:"requestable" doc:"lets users ask for access by this policy for a while"`
}

// Rule is one rule as written. It has exactly one of Allow and Deny.
type Rule struct {
	Allow *Match `yaml:"allow" doc:"callers and requests that may pass"`
	Deny  *Match `yaml:"deny" doc:"callers and requests that may not, whatever else allows them"`
	Mode  string `yaml:"mode" doc:"report: decide and record, but do not enforce"`
	Until string `yaml:"until" doc:"the last day of the rule, in UTC, such as 2027-01-31; or the time at which it ends, such as 2027-01-31T18:00:00+01:00"`
}

// Match says which requests a rule applies to. Every part that is written must
// match; within a part, one element suffices. The table of parts in parts.go has
// one entry for each field.
type Match struct {
	Groups       []GroupRef          `yaml:"groups" doc:"members of any of these groups"`
	AllGroups    []GroupRef          `yaml:"all_groups" doc:"members of every one of these groups"`
	UnlessGroups []GroupRef          `yaml:"unless_groups" doc:"not members of any of these groups"`
	Users        []string            `yaml:"users" doc:"these users, by userName or externalId, exactly"`
	NotUsers     []string            `yaml:"not_users" doc:"not these users, by userName or externalId, exactly"`
	Roles        []string            `yaml:"roles" doc:"holders of any of these roles; with apps, roles that the token gives the application"`
	ReportsTo    []string            `yaml:"reports_to" doc:"users whose manager (SCIM) is one of these users, by userName or externalId, exactly"`
	ManagerOf    []string            `yaml:"manager_of" doc:"users who are the manager (SCIM) of one of these users, by userName or externalId, exactly"`
	Attributes   map[string][]string `yaml:"attributes" doc:"users whose SCIM attributes have one of these values each, such as department: [Finance]; an attribute of another extension with its URN before it"`
	Apps         []string            `yaml:"apps" doc:"these applications, by client ID, calling for themselves (client credentials)"`
	Methods      []string            `yaml:"methods" doc:"these HTTP methods, or any alone for all; when absent in an allow rule, the usual ones"`
	Paths        []string            `yaml:"paths" doc:"these paths: whole segments, * for one segment, /** at the end for the path before it and all below"`
	Networks     []string            `yaml:"networks" doc:"clients in these networks, such as 10.0.0.0/8, by the address that trusted_proxies tell"`
	Hours        *Hours              `yaml:"hours" doc:"at these times of the week"`
	When         string              `yaml:"when" doc:"a CEL condition on request and user"`
	MaxAuthAge   time.Duration       `yaml:"max_auth_age" doc:"callers who proved who they are no longer ago than this; in an allow rule"`
	Auth         *Login              `yaml:"auth" doc:"callers whose login meets this; in an allow rule"`
	Anyone       bool                `yaml:"anyone" doc:"true: everybody, signed in or not"`
}

// GroupRef names a group by its object ID, which the identity provider pushes as
// externalId. The name beside an ID is a comment; where group names are trusted, a
// name may stand alone.
type GroupRef struct {
	ID   string `yaml:"id" doc:"the group's object ID (SCIM externalId)"`
	Name string `yaml:"name" doc:"the group's displayName: a comment beside id, or alone with trust_group_names"`
}

// Options say what rules may contain.
type Options struct {
	TrustGroupNames bool // a rule may name a group by its displayName alone
}

// Request holds everything that a decision depends on. What its slices and Attributes refer to must never change: a
// policy remembers by them which rules are about the caller.
type Request struct {
	Anonymous                    bool   // the caller is not signed in; all fields of the user are empty
	App                          string // client ID of an application that calls for itself; of the fields of the user, only Roles is set then
	UserID, UserName, ExternalID string
	GroupIDs, GroupNames         []string // of the same groups; GroupIDs is sorted, and "" for a group without an ID
	Roles                        []string
	Attributes                   Attributes   // nil if there are none
	Organization                 Organization // nil if it is not known who manages whom
	Grants                       Grants       // of the user; nil if there are none
	Method, Host, Path           string       // Path is canonical
	Address                      netip.Addr   // of the client; zero if unknown
	Time                         time.Time
	Authenticated                time.Time // when the caller last signed in; zero if unknown
	Strength                     Strength  // how
}

// Attributes returns the SCIM document of a user, for conditions that read it.
type Attributes interface{ Attributes() map[string]any }

// Organization says who manages whom (RFC 7643 §4.3).
type Organization interface {
	// Manager returns userName and externalId of the manager of the user with an id.
	Manager(id string) (userName, externalID string, ok bool)
	// Manages reports whether the user with an id is the manager of a user of this userName or externalId.
	Manages(id, name string) bool
}

// Decision is the outcome with the rules in force. Report is the outcome if rules
// in report mode were in force too; nil if they would change nothing.
type Decision struct {
	Verdict
	Report *Verdict
}

// Verdict is an outcome and the rule it rests on, such as "sre[0]"; "" for NoRule.
type Verdict struct {
	Allow  bool
	Rule   string
	Reason Reason
	Login  *Login    // with LoginTooOld and LoginTooWeak: what the rule demands
	Until  time.Time // with Allow: when the passing of time may change the outcome; zero if it cannot
}

// Policy is a compiled list of rules. It is immutable, but for what it remembers of callers.
type Policy struct {
	rules   []rule
	index   ruleIndex
	memory  *memory  // nil if asking every rule about its callers is as fast
	timed   [2]timed // the rules that deny and depend on the time: those in force, and with those in report mode
	written []Rule
	offers  []Offer
	reports bool // some rule is in report mode
	ids     []string
	names   []string
	apps    []string
	methods []string // with which a rule in force may allow requests
	anyone  bool
}

// Compile compiles rules. Its error lists every fault of them.
func Compile(lists []Named, o Options) (*Policy, error) {
	defer runtime.KeepAlive(conditionsOf(lists)) // so that each is compiled once
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
			p.add(r, written)
		}
		if err := p.addGrants(list); err != nil {
			return nil, err
		}
	}
	p.index.build(p.rules, p.written)
	p.memory = newMemory(p.written)
	p.setTimed()
	slices.Sort(p.ids)
	slices.Sort(p.names)
	slices.Sort(p.apps)
	p.ids, p.names, p.apps = slices.Compact(p.ids), slices.Compact(p.names), slices.Compact(p.apps)
	return p, nil
}

// addGrants adds the rule that grants of a list stand for.
func (p *Policy) addGrants(list Named) error {
	if list.Requestable == nil {
		return nil
	}
	written := list.Requestable.rule()
	r, err := compileRule(Offer{Policy: list.Name}.Rule(), written)
	if err != nil {
		return err
	}
	r.grant = list.Name
	p.add(r, written)
	p.offers = append(p.offers, Offer{list.Name, list.Requestable})
	return nil
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

func (p *Policy) add(r rule, written Rule) {
	p.rules, p.written = append(p.rules, r), append(p.written, written)
	p.reports = p.reports || r.report
	m := written.match()
	p.anyone = p.anyone || r.allow && m.Anyone && !r.report
	if r.allow && !r.report {
		p.addMethods(m.Methods)
	}
	p.apps = append(p.apps, m.Apps...)
	for _, g := range m.groups() {
		if g.ID != "" {
			p.ids = append(p.ids, g.ID)
		} else {
			p.names = append(p.names, g.Name)
		}
	}
}

// match returns what the rule is about.
func (r Rule) match() *Match {
	if r.Allow != nil {
		return r.Allow
	}
	return r.Deny
}

func (m *Match) groups() []GroupRef { return slices.Concat(m.Groups, m.AllGroups, m.UnlessGroups) }

// GroupsIn returns every group that the rules of lists name, as they name it, each once
// and in their order.
func GroupsIn(lists []Named) (groups []GroupRef) {
	seen := map[GroupRef]bool{}
	for _, list := range lists {
		for _, g := range list.groups() {
			if !seen[g] {
				seen[g] = true
				groups = append(groups, g)
			}
		}
	}
	return groups
}

func (n Named) groups() (groups []GroupRef) {
	for _, r := range n.Rules {
		if m := r.match(); m != nil {
			groups = append(groups, m.groups()...)
		}
	}
	if q := n.Requestable; q != nil && q.Allow != nil {
		groups = append(groups, q.Allow.groups()...)
	}
	return append(groups, n.Requestable.groups()...)
}

// GroupIDs returns the object IDs of the groups that the rules name, sorted.
func (p *Policy) GroupIDs() []string { return p.ids }

// GroupNames returns the names of the groups that the rules name without an ID, sorted.
func (p *Policy) GroupNames() []string { return p.names }

// Apps returns the client IDs of the applications that the rules name, sorted.
func (p *Policy) Apps() []string { return p.apps }

// Equal reports whether both have the same rules, whatever these are called.
func (p *Policy) Equal(other *Policy) bool {
	return reflect.DeepEqual(p.written, other.written) && reflect.DeepEqual(p.offers, other.offers)
}

// AllowsAnyone reports whether a rule in force allows callers who are not signed in.
func (p *Policy) AllowsAnyone() bool { return p.anyone }

// Decide decides about a request. It has no side effects but that it remembers which rules are about the caller; it
// allocates only to remember that, and to evaluate conditions.
func (p *Policy) Decide(req *Request) (d Decision) {
	q := p.ask(req, true)
	d.Verdict = q.verdict(false)
	if req.Grants != nil && d.Reason == NoRule {
		d.Verdict = p.withoutRevocations(req)
	}
	if p.reports {
		if would := q.verdict(true); would.Allow != d.Allow {
			d.Report = &would
		}
	}
	q.close()
	return d
}

// withoutRevocations returns the verdict about a request that no rule allows. It names the
// rule that would allow the request if no review had revoked a membership.
func (p *Policy) withoutRevocations(req *Request) Verdict {
	before := *req
	before.Grants = unrevoked{req.Grants}
	q := p.ask(&before, true)
	v := q.verdict(false)
	q.close()
	if v.Allow {
		return Verdict{Rule: v.Rule, Reason: AccessRevoked}
	}
	return Verdict{Reason: NoRule}
}

// unrevoked is Grants without what reviews revoked.
type unrevoked struct{ Grants }

func (unrevoked) Revoked(string) bool { return false }
