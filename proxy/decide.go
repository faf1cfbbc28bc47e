package proxy

import (
	"time"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/policy"
)

// answer is what the question came to.
type answer struct {
	user     *directory.User
	decision policy.Decision
	refusal  *refusal // nil: let in
}

// ask is the one question: may this visit be here, by t and all that the directory and the sessions say now? It is
// asked before a request is let in and again, of every live one, whenever the answer may differ. It reads memory
// only and changes nothing, neither in v.
func (p *Proxy) ask(t *table, v *visit, now time.Time) (a answer) {
	r := v.route
	if t != v.table {
		if r = t.find(v.host, v.path); !r.succeeds(v) {
			a.refusal = refused(noRoute, "the route has changed")
			return a
		}
	}
	if err := p.directory.Fresh(); err != nil {
		a.refusal = refused(directoryStale, err.Error())
		return a
	}
	if v.probe && r.probes {
		a.decision.Allow, a.decision.Reason = true, preflightReason
		return a
	}
	c := v.caller
	if c != nil && !r.accepts(c) {
		c = nil
	}
	if c != nil {
		if a.user, a.refusal = p.user(c, now); a.refusal != nil {
			return a
		}
	}
	q := question(v, c, a.user, now)
	if a.decision = r.policy.Decide(&q); a.decision.Allow && v.lenient {
		q.Path = loosest(v.path) // both ways to read it have to be allowed
		a.decision = r.policy.Decide(&q)
	}
	if !a.decision.Allow {
		a.refusal = denied(v, c, a.decision)
	}
	return a
}

// preflightReason is why CORS preflight requests pass, where they do: no rule is asked.
const preflightReason = policy.Reason("cors_preflight")

// question puts a visit by a user, nil for nobody and for an application, into the words of the rules.
func question(v *visit, c *caller, u *directory.User, now time.Time) policy.Request {
	q := policy.Request{Anonymous: u == nil && c.app() == "", App: c.app(), Method: v.method, Host: v.host, Path: readable(v.path), Time: now, Authenticated: c.authenticated()}
	if q.App != "" {
		q.Roles = c.token.Roles
	}
	if u != nil {
		q.UserID, q.UserName, q.ExternalID = u.ID, u.UserName, u.ExternalID
		q.GroupIDs, q.GroupNames, q.Roles = u.GroupIDs, u.GroupNames, u.Roles
		q.Attributes = u
	}
	return q
}

// denied turns a no of the rules into a refusal. Nobody is not told that they may not, but that they should say who
// they are.
func denied(v *visit, c *caller, d policy.Decision) *refusal {
	reason := string(d.Reason)
	switch {
	case c == nil && v.lapsed != "":
		reason = v.lapsed
	case c == nil:
		reason = notSignedIn
	}
	x := refused(reason, "")
	x.rule, x.maxAge = d.Rule, d.MaxAge
	return x
}

// authenticated is when somebody proved who they are, as far as the provider said so.
func (c *caller) authenticated() time.Time {
	switch {
	case c == nil:
	case c.session != nil && c.session.Proven:
		return c.session.Authenticated
	case c.token != nil && c.token.TimeKnown:
		return c.token.Authenticated
	}
	return time.Time{}
}

// succeeds says whether r is, under newer settings, the route that v is on: it leads to the same upstream.
func (r *route) succeeds(v *visit) bool {
	return r != nil && r.upstream == v.route.upstream && (r.lenient || !v.lenient)
}

func (r *route) accepts(c *caller) bool {
	return c.session != nil && r.session || c.token != nil && r.bearer
}

// What is said of a decision in metrics and records.
const (
	verdictAllow = "allow"
	verdictDeny  = "deny"
)

// note counts an answer and, if it is about somebody or lets a request in, records it: before the deed, and if it
// cannot be recorded, instead of it.
func (p *Proxy) note(v *visit, a answer) *refusal {
	reason, verdict := string(a.decision.Reason), verdictAllow
	if a.refusal != nil {
		reason, verdict = a.refusal.reason, verdictDeny
	}
	if v.caller != nil {
		v.caller.user = a.user
	}
	v.route.numbers.decided(verdict, reason)
	if v.caller == nil && a.refusal != nil {
		return nil // strangers leave no trace they could fill a disk with
	}
	e := audit.Event{Kind: audit.KindDecision, Route: v.route.name, Decision: verdict, Reason: reason,
		Rule: a.decision.Rule, Revision: p.directory.Revision()}
	if a.refusal != nil {
		e.Code = a.refusal.status
	}
	e.Detail = detailOf(v, a)
	p.name(&e, v)
	if err := p.record(v, e); err != nil && a.refusal == nil {
		return refused(auditUnavailable, err.Error())
	}
	return nil
}

// detailOf says what the decision would be if rules in report mode counted, and which front asked for it.
func detailOf(v *visit, a answer) map[string]string {
	if a.decision.Report == nil && v.front == nil {
		return nil
	}
	detail := map[string]string{}
	if would := a.decision.Report; would != nil {
		detail["report_decision"], detail["report_rule"], detail["report_reason"] = verdictDeny, would.Rule, string(would.Reason)
		if would.Allow {
			detail["report_decision"] = verdictAllow
		}
	}
	if v.front != nil {
		detail["front"] = v.front.address
	}
	return detail
}

// name writes who is calling into an event.
func (p *Proxy) name(e *audit.Event, v *visit) {
	switch c := v.caller; {
	case c == nil:
	case c.session != nil:
		e.User, e.UserName, e.Session = c.session.User, c.session.UserName, c.session.ID
	case c.app() != "":
		e.UserName = appName(c.app())
	default:
		e.UserName = c.token.Name
		if u, ok := p.directory.Lookup(c.token.Key); ok {
			e.User, e.UserName = u.ID, u.UserName
		}
	}
}
