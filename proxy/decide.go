package proxy

import (
	"time"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/policy"
	"sallyport/proxy/internal/canonical"
)

// answer is what the question came to.
type outcome struct {
	user     *directory.User
	decision policy.Decision
	denial   *denial // nil: let in
}

// ask is the one question: may this visit be here, by t and all that the directory and the sessions say now? It is
// asked before a request is let in and again, of every live one, whenever the answer may differ. It reads memory
// only and changes nothing, neither in v.
func (p *Proxy) decide(rt *routing, req *request, now time.Time) (out outcome) {
	r := req.route
	if rt != req.routing {
		if r = rt.find(req.host, req.path); !r.continues(req) {
			out.denial = deny(noRoute, "the route has changed")
			return out
		}
	}
	if err := p.directory.Fresh(); err != nil {
		out.denial = deny(directoryStale, err.Error())
		return out
	}
	if req.preflight && r.passPreflights {
		out.decision.Allow, out.decision.Reason = true, preflightReason
		return out
	}
	c := req.caller
	if c != nil && !r.accepts(c) {
		c = nil
	}
	if c != nil {
		if out.user, out.denial = p.checkUser(c, now); out.denial != nil {
			return out
		}
	}
	q := policyRequest(req, c, out.user, now)
	if out.decision = r.policy.Decide(&q); out.decision.Allow && req.lenient {
		q.Path = canonical.LenientReading(req.path) // both ways to read it have to be allowed
		out.decision = r.policy.Decide(&q)
	}
	if !out.decision.Allow {
		out.denial = denialByRule(req, c, out.decision)
	}
	return out
}

// preflightReason is why CORS preflight requests pass, where they do: no rule is asked.
const preflightReason = policy.Reason("cors_preflight")

// question puts a visit by a user, nil for nobody and for an application, into the words of the rules.
func policyRequest(req *request, c *caller, u *directory.User, now time.Time) policy.Request {
	q := policy.Request{Anonymous: u == nil && c.app() == "", App: c.app(), Method: req.method, Host: req.host, Path: canonical.Decoded(req.path), Time: now, Authenticated: c.authenticated()}
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
func denialByRule(req *request, c *caller, d policy.Decision) *denial {
	reason := string(d.Reason)
	switch {
	case c == nil && req.sessionError != "":
		reason = req.sessionError
	case c == nil:
		reason = notSignedIn
	}
	denied := deny(reason, "")
	denied.rule, denied.maxAge = d.Rule, d.MaxAge
	return denied
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
func (r *route) continues(req *request) bool {
	return r != nil && r.upstream == req.route.upstream && (r.lenient || !req.lenient)
}

func (r *route) accepts(c *caller) bool {
	return c.session != nil && r.session || c.token != nil && r.bearer
}

// What is said of a decision in metrics and records.
const (
	decisionAllow = "allow"
	decisionDeny  = "deny"
)

// note counts an answer and, if it is about somebody or lets a request in, records it: before the deed, and if it
// cannot be recorded, instead of it.
func (p *Proxy) recordDecision(req *request, out outcome) *denial {
	reason, verdict := string(out.decision.Reason), decisionAllow
	if out.denial != nil {
		reason, verdict = out.denial.reason, decisionDeny
	}
	if req.caller != nil {
		req.caller.user = out.user
	}
	req.route.metrics.countDecision(verdict, reason)
	if req.caller == nil && out.denial != nil {
		return nil // strangers leave no trace they could fill a disk with
	}
	e := audit.Event{Kind: audit.KindDecision, Route: req.route.name, Decision: verdict, Reason: reason,
		Rule: out.decision.Rule, Revision: p.directory.Revision()}
	if out.denial != nil {
		e.Code = out.denial.status
	}
	e.Detail = detailOf(req, out)
	p.setCaller(&e, req)
	if err := p.record(req, e); err != nil && out.denial == nil {
		return deny(auditUnavailable, err.Error())
	}
	return nil
}

// detailOf says what the decision would be if rules in report mode counted, and which front asked for it.
func detailOf(req *request, out outcome) map[string]string {
	if out.decision.Report == nil && req.authClient == nil {
		return nil
	}
	detail := map[string]string{}
	if would := out.decision.Report; would != nil {
		detail["report_decision"], detail["report_rule"], detail["report_reason"] = decisionDeny, would.Rule, string(would.Reason)
		if would.Allow {
			detail["report_decision"] = decisionAllow
		}
	}
	if req.authClient != nil {
		detail["front"] = req.authClient.address
	}
	return detail
}

// name writes who is calling into an event.
func (p *Proxy) setCaller(e *audit.Event, req *request) {
	switch c := req.caller; {
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
