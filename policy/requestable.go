package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Requestable lets users ask for a policy. Whoever is granted it is let in as by one
// more allow rule of the policy, until the grant ends.
type Requestable struct {
	By        Requesters    `yaml:"by" doc:"who may ask"`
	Approvers Approvers     `yaml:"approvers" doc:"who may approve; nobody approves their own request"`
	Approvals int           `yaml:"approvals" doc:"how many different people must approve"`
	Max       time.Duration `yaml:"max" doc:"the longest time for which access is granted, at most 720h"`
	Reason    string        `yaml:"reason" doc:"required or optional: whether the person must say why"`
	Allow     *Match        `yaml:"allow" doc:"what a grant allows, such as methods: [GET]; when absent, all that a rule which names a user alone allows"`
}

// Requesters are the users who may ask for a policy.
type Requesters struct {
	Groups []GroupRef `yaml:"groups" doc:"members of any of these groups"`
	Anyone bool       `yaml:"anyone" doc:"true: every user"`
}

// Approvers are the users who may approve requests: those of every part that is written.
type Approvers struct {
	Groups  []GroupRef `yaml:"groups" doc:"members of any of these groups"`
	Manager bool       `yaml:"manager" doc:"true: the manager (SCIM) of the person who asks"`
	Owner   bool       `yaml:"owner" doc:"true: the owner of the route, if that is the e-mail address of one user"`
}

// Grants says what grants and reviews change for one user.
type Grants interface {
	// Until returns when the user's grant of a policy ends; the zero time if there is none.
	Until(policy string) time.Time
	// Revoked reports whether a review revoked the user's membership of a group, named by
	// its ID, or by its name if it has no ID.
	Revoked(group string) bool
}

// The longest time of a grant, and the default number of approvals.
const (
	maxGrant         = 720 * time.Hour
	maxApprovals     = 5
	reasonRequired   = "required"
	reasonOptional   = "optional"
	grantRule        = "[grant]"
	partGrant        = "grant"
	defaultApprovals = 1
)

// Offer is a policy that users may ask for.
type Offer struct {
	Policy string
	*Requestable
}

// Rule returns the name of the rule that grants of the policy stand for.
func (o Offer) Rule() string { return o.Policy + grantRule }

// Offers returns the policies among the rules that users may ask for.
func (p *Policy) Offers() []Offer { return p.offers }

// NeedsReason reports whether a request must say why.
func (q *Requestable) NeedsReason() bool { return q.Reason != reasonOptional }

// Needed returns how many people must approve a request.
func (q *Requestable) Needed() int { return max(q.Approvals, defaultApprovals) }

// MayAsk reports whether the user of req may ask for the policy.
func (q *Requestable) MayAsk(req *Request) bool {
	return req.UserID != "" && (q.By.Anyone || memberOfAny(q.By.Groups, true)(req))
}

// MayApprove reports whether the user of req is in a group of approvers.
func (q *Requestable) MayApprove(req *Request) bool {
	return req.UserID != "" && memberOfAny(q.Approvers.Groups, true)(req)
}

func (q *Requestable) groups() []GroupRef {
	if q == nil {
		return nil
	}
	return slices.Concat(q.By.Groups, q.Approvers.Groups)
}

// rule returns the allow rule that grants of the policy stand for.
func (q *Requestable) rule() Rule {
	m := Match{}
	if q.Allow != nil {
		m = *q.Allow
	}
	return Rule{Allow: &m}
}

func (q *Requestable) mapPaths(f func(string) string) *Requestable {
	if q == nil || q.Allow == nil {
		return q
	}
	mapped := *q
	mapped.Allow = q.Allow.mapPaths(f)
	return &mapped
}

// check reports every fault of what is written below requestable.
func (q *Requestable) check(o Options, fault faultFunc) {
	checkGroupRefs(q.By.Groups, o, below(".by.groups", fault))
	checkGroupRefs(q.Approvers.Groups, o, below(".approvers.groups", fault))
	switch {
	case q.By.Anyone && len(q.By.Groups) > 0:
		fault(".by.groups", "means nothing beside anyone: true; leave out one of them")
	case !q.By.Anyone && len(q.By.Groups) == 0:
		fault(".by", "lets nobody ask; write groups: [{id: …}], or anyone: true for every user")
	}
	if len(q.Approvers.Groups) == 0 && !q.Approvers.Manager && !q.Approvers.Owner {
		fault(".approvers", "lets nobody approve; write groups: [{id: …}], manager: true or owner: true")
	}
	if q.Approvals < 0 || q.Approvals > maxApprovals {
		fault(".approvals", fmt.Sprintf("%d is not between 1 and %d", q.Approvals, maxApprovals))
	}
	if q.Max < time.Minute || q.Max > maxGrant {
		fault(".max", "a grant lasts between 1m and 720h; write for example 4h")
	}
	if q.Reason != "" && q.Reason != reasonRequired && q.Reason != reasonOptional {
		fault(".reason", fmt.Sprintf("%q is unknown; write required or optional", q.Reason))
	}
	if q.Allow != nil {
		q.Allow.check(o, below(".allow", fault))
		if q.Allow.Anyone || q.Allow.writes(namesCallers) {
			fault(".allow", "says what a grant allows, not to whom: by does; leave out "+strings.Join(append(keysOf(namesCallers), "anyone"), ", "))
		}
	}
}

// WarnOfOwners reports owners of routes with the policy who cannot approve requests, or who would approve more than their
// own route. Owners are those of all routes with the policy, "" for a route without one.
func (n Named) WarnOfOwners(owners []string, warn func(path, problem string)) {
	q, path := n.Requestable, "requestable.approvers.owner"
	if q == nil || !q.Approvers.Owner || len(owners) == 0 {
		return
	}
	addresses := slices.DeleteFunc(slices.Clone(owners), func(owner string) bool { return !strings.Contains(owner, "@") })
	slices.Sort(addresses)
	if len(slices.Compact(addresses)) == 0 {
		warn(path, fmt.Sprintf("no route with policy %s has an owner who is an e-mail address, so that no owner approves; write owner: at the route, or leave this out", n.Name))
	}
	first := owners[0]
	if slices.ContainsFunc(owners, func(owner string) bool { return !strings.EqualFold(owner, first) }) {
		warn(path, fmt.Sprintf("the routes with policy %s have different owners, and a grant that one of them approves lets the person in to all of these routes; give each owner a policy of their own if that is not meant", n.Name))
	}
}

func (r *rule) granted(req *Request) bool {
	return req.Grants != nil && req.Grants.Until(r.grant).After(req.Time)
}

// warnOfEasierGrants warns if every allow rule demands something of the circumstances that a grant does not demand.
func (n Named) warnOfEasierGrants(warn func(path, problem string)) {
	if n.Requestable == nil {
		return
	}
	for _, d := range demands {
		rules, all := 0, true
		for _, r := range n.Rules {
			if r.Allow != nil && r.Mode == "" {
				rules, all = rules+1, all && d.of(r.Allow)
			}
		}
		if rules > 0 && all && (n.Requestable.Allow == nil || !d.of(n.Requestable.Allow)) {
			warn("requestable.allow", fmt.Sprintf("every other allow rule of policy %s has %s, and grants do not, so that %s; write it here too, such as allow: {%s}", n.Name, d.keys, d.so, d.example))
		}
	}
}

// demands are the parts of rules that depend on neither caller nor request.
var demands = []struct {
	of                func(*Match) bool
	keys, so, example string
}{
	{func(m *Match) bool { return m.Auth != nil || m.MaxAuthAge > 0 }, "auth or max_auth_age", "a grant lets its person in without such a login", "auth: {amr: [mfa]}"},
	{func(m *Match) bool { return len(m.Networks) > 0 }, "networks", "a grant lets its person in from every network", "networks: [10.0.0.0/8]"},
	{func(m *Match) bool { return m.Hours != nil }, "hours", "a grant lets its person in at any hour", "hours: {days: [mon-fri], from: \"08:00\", to: \"18:00\"}"},
}
