package proxy

import (
	"cmp"
	"time"

	"sallyport/access"
	"sallyport/audit"
	"sallyport/directory"
	"sallyport/grant"
	"sallyport/policy"
	"sallyport/proxy/internal/canonical"
	"sallyport/proxy/internal/detail"
	"sallyport/proxy/internal/identity"
)

// outcome is what [Proxy.decide] returns.
type outcome struct {
	user     *directory.User
	decision policy.Decision
	denial   *denial // nil: the request is allowed
}

// decide reports whether req is allowed by rt and by what the directory and the sessions say now. It is asked before a
// request is let in, and again for every live request whenever its outcome may change. It is pure: it reads memory only
// and has no side effects, not even in req.
func (p *Proxy) decide(rt *routing, req *request, now time.Time) (out outcome) {
	r, readings := req.route, req.readings
	if rt != req.routing {
		if r, readings, out.denial = rt.routeOf(req); out.denial != nil || !r.continues(req) {
			out.denial = deny(noRoute, "the route has changed")
			return out
		}
	}
	if err := cmp.Or(p.directory.Fresh(), p.grants.Fresh()); err != nil {
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
		if c.session != nil && !r.origins.Allow(req.crossing) {
			out.denial = deny(crossOrigin, "sent by a page of another origin")
			return out
		}
	}
	if out.decision = p.decideRules(r, readings, req, c, out.user, now); !out.decision.Allow {
		out.denial = denialByPolicy(req, c, out.decision)
	}
	return out
}

// decideRules returns what the rules of r decide about req, sent by a caller, by every reading of its path.
func (p *Proxy) decideRules(r *route, all readings, req *request, c *caller, u *directory.User, now time.Time) policy.Decision {
	q := p.pools.policyRequests.Get().(*policy.Request)
	defer p.pools.policyRequests.Put(q)
	p.setPolicyRequest(q, req, c, u, now)
	return r.decideReadings(q, all)
}

// preflightReason is the reason of CORS preflight requests that a route lets through: no rule decides them.
const preflightReason = policy.Reason("cors_preflight")

// setPolicyRequest sets q to the request that the rules decide. The user is nil for an anonymous caller and for an
// application.
func (p *Proxy) setPolicyRequest(q *policy.Request, req *request, c *caller, u *directory.User, now time.Time) {
	*q = policy.Request{}
	q.Method, q.Host, q.Path = req.method, req.host, canonical.Decoded(req.path)
	q.Address, q.Time, q.Organization = req.client, now, p.directory
	q.Authenticated, q.Strength = c.authenticated(), c.strength()
	app := c.app()
	var roles []string
	if app != "" {
		roles = c.token.Roles
	}
	access.SetCaller(q, u, app, roles)
	access.SetGrants(q, u, p.grants.Of)
}

// heldBy returns what grants and reviews change for a user, who may be nil; nil if nothing.
func (p *Proxy) heldBy(u *directory.User) *grant.Holdings {
	if u == nil {
		return nil
	}
	return p.grants.Of(u.ID, u.Epoch)
}

// denialByPolicy turns a decision that does not allow into a denial. An anonymous caller gets 401, not 403: signing in
// may help.
func denialByPolicy(req *request, c *caller, d policy.Decision) *denial {
	reason, demand := Reason(d.Reason), d.Login
	if c == nil {
		demand = req.route.login
	}
	switch {
	case c == nil && req.sessionError != "":
		reason = req.sessionError
	case c == nil:
		reason = notSignedIn
	}
	return &denial{reason: reason, rule: d.Rule, demand: demand}
}

// continues reports whether r, under newer settings, is still the route of req: it leads to the same upstream.
func (r *route) continues(req *request) bool {
	return r.upstream == req.route.upstream
}

// accepts reports whether the route accepts the way in which the caller authenticated.
func (r *route) accepts(c *caller) bool {
	return c.session != nil && r.session || c.token != nil && r.bearer
}

// The decisions in metrics and audit events.
const (
	decisionAllow = "allow"
	decisionDeny  = "deny"
)

// recordDecision counts and records a decision and returns why the request must not go on. The event is written before
// the request is forwarded; if it cannot be written, the request is denied. Anonymous denials are counted only, so that
// they cannot fill the disk.
func (p *Proxy) recordDecision(req *request, out outcome) *denial {
	decision, reason := decisionAllow, Reason(out.decision.Reason)
	if out.denial != nil {
		decision, reason = decisionDeny, out.denial.reason
	}
	if req.caller != nil {
		req.caller.user, req.caller.held = out.user, p.heldBy(out.user)
	}
	req.route.metrics.Decided(decision, string(reason))
	req.trace.Decided(req.route.name, decision, string(reason), out.decision.Rule)
	if req.caller == nil && out.denial != nil {
		return out.denial
	}
	e := audit.Event{Kind: audit.KindDecision, Route: req.route.name, Decision: decision, Reason: string(reason),
		Rule: out.decision.Rule, Revision: p.directory.Revision(), Detail: detail.Decision(out.decision.Report, cmp.Or(req.authClient, &authClient{}).address)}
	if out.denial != nil {
		e.Code = out.denial.status()
	}
	p.setCaller(&e, req)
	e.Detail = detail.Trace(e.Detail, req.trace.ID())
	if err := p.record(req, e); err != nil && out.denial == nil {
		return deny(auditUnavailable, err.Error())
	}
	return out.denial
}

// setCaller writes into an event who made the request, and whether by a break-glass session; of a user who is not in the
// directory, how they were looked for.
func (p *Proxy) setCaller(e *audit.Event, req *request) {
	switch c := req.caller; {
	case c == nil:
	case c.session != nil:
		e.User, e.UserName, e.Session = c.session.User, c.session.UserName, c.session.ID
		if c.session.IsBreakGlass() {
			e.Detail = detail.With(e.Detail, "session", audit.BreakGlass)
		}
	case c.app() != "":
		e.UserName = identity.AppName(c.app())
	default:
		e.UserName = c.token.Name
		if u, ok := p.directory.Lookup(c.token.Key); ok {
			e.User, e.UserName = u.ID, u.UserName
		}
		if e.Reason == string(unknownUser) {
			e.Detail = detail.LookedFor(e.Detail, c.token.Claim, c.token.Key, p.directory.Join())
		}
	}
}

// record writes an audit event about req, at the time when req was received if the event has no time of its own. It logs
// the error that it returns.
func (p *Proxy) record(req *request, e audit.Event) error {
	if e.Time.IsZero() {
		e.Time = req.received
	}
	e.Request, e.Host, e.Method, e.Path, e.Address = req.id, req.host, req.method, req.path, req.address
	err := p.audit.Write(e)
	if err != nil {
		p.logOf(req).Error("audit event not written", "err", err)
	}
	return err
}
