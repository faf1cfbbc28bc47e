package access

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport/directory"
	"sallyport/policy"
)

// Recorded is a decision in the audit record.
type Recorded struct {
	Time                time.Time
	User                string // the directory's id; "" for an application and an anonymous caller
	Name                string // userName; or app: and a client ID
	Route               string
	Method, Host, Path  string
	Address             string
	Allow               bool
	Rule, Reason        string
	ReportRule, Request string
	BreakGlass          bool // the session began by a code, without a login
}

// Flip is a recorded request, or several alike, that other rules would decide otherwise.
type Flip struct {
	Caller   string    `json:"caller"`
	Method   string    `json:"method"`
	URL      string    `json:"url"`
	Recorded string    `json:"recorded"` // the decision as it was
	New      string    `json:"new"`      // the decision by the new rules
	InForce  bool      `json:"in_force"` // the rules in force decide as the new ones do: the directory has changed, or the rules have
	Times    int       `json:"times"`
	Last     time.Time `json:"last"`
}

// Replay decides recorded requests again.
type Replay struct {
	New, InForce func(method, url string) (Target, error)
	User         func(id string) (*directory.User, bool) // as pushed today
	Organization policy.Organization
	Limit        int // of how many kinds of flips there are; 0: none
	flips        map[Flip]*Flip
	decisions    int
	more         int // flips of kinds beyond the limit
}

// byRules are the reasons of decisions that depend on rules or on the directory alone. Others, such as that of a session
// that expired, say nothing about rules.
var byRules = []string{string(policy.RuleAllow), string(policy.RuleDeny), string(policy.NoRule), string(policy.LoginTooOld), string(policy.LoginTooWeak),
	ReasonNotSignedIn, reasonUnknownUser, "inactive_user", "suspended", "damaged_record"}

const reasonUnknownUser = "unknown_user"

// Add decides one request again, by today's directory, at the time of the record, if it was decided by rules. A caller
// whose login was good enough then is taken to have one that is good enough for the other rules too, one whom a grant let
// in to have a grant of that policy, and an application to have the roles that they want: none of it is in the record. A
// break-glass session has no login.
func (r *Replay) Add(e Recorded) {
	if !slices.Contains(byRules, e.Reason) {
		return
	}
	r.decisions++
	if r.flips == nil {
		r.flips = map[Flip]*Flip{}
	}
	was, now := decisionText(e.Allow, e.Reason, e.Rule), r.decide(r.New, e)
	if now.Allow == e.Allow {
		return
	}
	key := Flip{Caller: cmp.Or(e.Name, asAnonymous), Method: e.Method, URL: e.Host + e.Path, Recorded: was, New: decisionText(now.Allow, string(now.Reason), now.Rule),
		InForce: r.decide(r.InForce, e).Allow == now.Allow}
	f, ok := r.flips[key]
	if !ok && r.Limit > 0 && len(r.flips) >= r.Limit {
		r.more++
		return
	}
	if !ok {
		first := key
		f = &first
		r.flips[key] = f
	}
	f.Times++
	if e.Time.After(f.Last) {
		f.Last = e.Time
	}
}

func (r *Replay) decide(target func(method, url string) (Target, error), e Recorded) policy.Decision {
	t, err := target(e.Method, e.Host+e.Path)
	if err != nil {
		return denial("no_route")
	}
	caller := Caller{}
	if app, ok := strings.CutPrefix(e.Name, asApp); ok {
		caller.App = app
	} else if e.User != "" {
		u, ok := r.User(e.User)
		if !ok {
			return denial(reasonUnknownUser)
		}
		caller.User = u
	}
	in := Circumstances{Time: e.Time, Login: e.Time, Address: e.Address, Organization: r.Organization}
	badLogin := e.BreakGlass || e.Reason == string(policy.LoginTooOld) || e.Reason == string(policy.LoginTooWeak)
	if badLogin {
		in.Login = time.Time{}
	}
	d := Decide(t, caller, in)
	strongEnough := d.Reason == policy.LoginTooWeak && !badLogin
	if d.Allow = d.Allow || strongEnough || e.Allow && t.allowsByGrant(newRequest(t, caller, in), e.Rule) || e.Allow && caller.App != "" && t.mayReach(newRequest(t, caller, in)); d.Allow {
		d.Reason = policy.RuleAllow
	}
	return d
}

func denial(reason policy.Reason) policy.Decision {
	return policy.Decision{Verdict: policy.Verdict{Reason: reason}}
}

// More returns how many decisions would be otherwise beside those that Flips returns, since there were too many kinds.
func (r *Replay) More() int { return r.more }

// mayReach reports whether rules let the application of req in if its token has the roles that they want.
func (t Target) mayReach(req *policy.Request) bool {
	readings := t.Readings
	if len(readings) == 0 {
		readings = []Reading{{t.Path, t.Route.Policy}}
	}
	return t.Route.Bearer && asked{t.Route, readings}.reaches(req, policy.Known{Method: true, Path: true, Address: true, Time: true})
}

func decisionText(allow bool, reason, rule string) string {
	decision := wantDeny
	if allow {
		decision = wantAllow
	}
	return fmt.Sprintf("%s: %s", decision, strings.TrimSuffix(reason+" by "+rule, " by "))
}

// Flips returns what would be decided otherwise, the most frequent first, and how many
// decisions were asked again.
func (r *Replay) Flips() (flips []Flip, decisions int) {
	for _, f := range r.flips {
		flips = append(flips, *f)
	}
	slices.SortFunc(flips, func(a, b Flip) int {
		return cmp.Or(b.Times-a.Times, strings.Compare(a.Caller, b.Caller), strings.Compare(a.URL, b.URL), strings.Compare(a.Method, b.Method))
	})
	return flips, r.decisions
}

// Unused is a rule, or a group in a rule, that decided no recorded request.
type Unused struct {
	Route string `json:"route"`
	Rule  string `json:"rule"`
	Group string `json:"group,omitempty"` // the rule was used, but by no member of this group
}

// Usage collects which rules and groups were used.
type Usage struct {
	User func(id string) (*directory.User, bool) // as pushed today
	used map[[2]string]bool                      // route and rule
	by   map[[3]string]bool                      // route, rule and id or name of a group
}

// Add notes a recorded decision. That a rule in report mode would have decided is use.
func (u *Usage) Add(e Recorded) {
	if u.used == nil {
		u.used, u.by = map[[2]string]bool{}, map[[3]string]bool{}
	}
	for _, rule := range []string{e.Rule, e.ReportRule} {
		if rule == "" {
			continue
		}
		u.used[[2]string{e.Route, rule}] = true
		if user, ok := u.User(e.User); ok {
			for i := range user.GroupIDs {
				u.by[[3]string{e.Route, rule, user.GroupIDs[i]}] = true
				u.by[[3]string{e.Route, rule, user.GroupNames[i]}] = true
			}
		}
	}
}

// Unused returns what none of the decisions used: rules of routes, and the groups of
// allow rules that were used.
func (u *Usage) Unused(routes []*Route) (list []Unused) {
	for _, r := range routes {
		for _, s := range r.Policy.Explain(&policy.Request{}) {
			if r.standsForGrants(s.Rule) { // it may be needed tomorrow
				continue
			}
			if !u.used[[2]string{r.Name, s.Rule}] {
				list = append(list, Unused{Route: r.Name, Rule: s.Rule})
				continue
			}
			for _, g := range groupsOf(s) {
				if !u.by[[3]string{r.Name, s.Rule, cmp.Or(g.ID, g.Name)}] {
					list = append(list, Unused{r.Name, s.Rule, cmp.Or(g.Name, g.ID)})
				}
			}
		}
	}
	return list
}

// groupsOf returns the groups of an allow rule.
func groupsOf(s policy.Step) (groups []policy.GroupRef) {
	if s.Effect != "allow" {
		return nil
	}
	for _, p := range s.Parts {
		groups = append(groups, p.Groups...)
	}
	return groups
}
