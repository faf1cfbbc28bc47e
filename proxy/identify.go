package proxy

import (
	"context"
	"errors"
	"net/http"
	"time"

	"sallyport/directory"
	"sallyport/oidc"
	"sallyport/proxy/internal/header"
	"sallyport/proxy/internal/origin"
	"sallyport/session"
)

const bearerTimeout = 5 * time.Second // the keys of the issuer may have to be fetched

// identify sets the caller of req, in a way that the route accepts. Missing credentials are not an error here; invalid
// ones are. It also notes which origin the request comes from. A CORS preflight request that the route lets through loses its credentials and has no caller.
func (p *Proxy) identify(r *http.Request, req *request) *denial {
	req.crossing = origin.Of(req.method, r.Header, req.routing.origin(req.host))
	if req.route.passPreflights && req.authClient == nil && header.IsPreflight(r) {
		req.preflight = true
		delete(r.Header, "Authorization")
		delete(r.Header, "Cookie")
		return nil
	}
	open := p.admitsAnyone(req)
	denied := p.authenticate(r, req, open)
	if open && denied.isAboutCaller() {
		denied = nil
	}
	if open && denied == nil && req.caller != nil {
		if _, invalid := p.checkUser(req.caller, req.received); invalid.isAboutCaller() {
			req.caller = nil
		}
	}
	if denied != nil {
		req.route.metrics.Decided(decisionDeny, string(denied.reason))
	}
	return denied
}

// admitsAnyone reports whether the rules let the request in whoever sends it. Then no credential is judged: one that is
// not valid counts as none, so that the upstream is told of nobody. A valid one still tells the upstream who is calling,
// and the rules may deny that caller.
//
// This is settled before the request is live. Later, a request whose upstream was told of a caller ends with the caller.
func (p *Proxy) admitsAnyone(req *request) bool {
	return req.route.policy.AllowsAnyone() && p.decideRules(req.route, req.readings, req, nil, nil, req.received).Allow
}

// isAboutCaller reports whether a request is denied because of who is calling, or because that cannot be told, and not
// because the request or our memory is at fault.
func (denied *denial) isAboutCaller() bool { return denied != nil && aboutCaller[denied.reason] }

var aboutCaller = map[Reason]bool{tokenRefused: true, tooMany: true, providerUnavailable: true, unknownUser: true,
	inactiveUser: true, suspendedUser: true, damagedRecord: true, sessionEnded: true, sessionExpired: true}

// authenticate verifies the bearer token if there is one, and otherwise the session cookie. Where the route forwards
// Authorization, its token may be meant for the application: beside a valid session it is not judged. With open, the
// rules let anyone in.
func (p *Proxy) authenticate(r *http.Request, req *request, open bool) *denial {
	if req.route.session && req.route.passAuthorization {
		if denied := p.identifySession(r, req); denied != nil || req.caller != nil {
			return denied
		}
	}
	if req.route.bearer {
		token, ok, err := header.BearerToken(r.Header)
		switch {
		case err != nil:
			return deny(tokenRefused, err.Error())
		case ok:
			return p.identifyBearer(r.Context(), req, token, open)
		}
	}
	if req.route.session && !req.route.passAuthorization {
		return p.identifySession(r, req)
	}
	return nil
}

// identifyBearer sets the caller to whom the token identifies. A client that sent too many invalid tokens still gets
// through with a valid one, if no key has to be fetched to verify it: others may share its address. With open, the
// rules let anyone in: then a token that is not valid counts against nobody, and no request waits for keys.
func (p *Proxy) identifyBearer(ctx context.Context, req *request, token string, open bool) *denial {
	if identity := req.routing.provider.Cached(token); identity != nil {
		req.caller = &caller{token: identity, bearer: oidc.Secret(token)}
		return nil
	}
	timeout, exhausted := bearerTimeout, p.throttles.failures.Exhausted(req.address)
	if exhausted || open {
		timeout = 0
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	identity, err := req.routing.provider.Bearer(ctx, token)
	switch {
	case err == nil:
		req.caller = &caller{token: &identity, bearer: oidc.Secret(token)}
		return nil
	case exhausted:
		return deny(tooMany, "bearer tokens that were rejected")
	}
	refused := errors.Is(err, oidc.ErrRefused)
	if !open && (refused || errors.Is(err, oidc.ErrNotLookedUp)) { // it costs nothing to make up the id of a key
		p.throttles.failures.Allow(req.address)
	}
	if refused {
		return rejectedToken(err)
	}
	return deny(providerUnavailable, err.Error())
}

// disclosable are the reasons for which a token is rejected that its sender is told: configuration mistakes, which
// reveal nothing that the token does not say.
var disclosable = map[oidc.Reason]bool{oidc.WrongVersion: true, oidc.NotForAPIs: true, oidc.Expired: true}

func rejectedToken(err error) *denial {
	denied := deny(tokenRefused, err.Error())
	if refusal := (*oidc.Refusal)(nil); errors.As(err, &refusal) && disclosable[refusal.Reason] {
		denied.disclosed = refusal.Detail
	}
	return denied
}

// identifySession sets the caller to the user of the session cookie. A cookie that is not valid leaves the request
// anonymous, with its sessionError.
func (p *Proxy) identifySession(r *http.Request, req *request) *denial {
	cookie, ok := session.Cookie(r.Header)
	if !ok {
		return nil
	}
	current, err := p.sessions.Find(r.Context(), cookie, req.host)
	if err == nil {
		req.caller = &caller{session: current}
		return nil
	}
	if !isGone(err) {
		return deny(directoryStale, err.Error())
	}
	req.sessionError = sessionReason(err)
	return nil
}

// sessionReason returns why a session that is gone is not valid.
func sessionReason(err error) Reason {
	switch {
	case errors.Is(err, session.ErrExpired):
		return sessionExpired
	case errors.Is(err, session.ErrEnded):
		return sessionEnded
	}
	return notSignedIn
}

// checkUser returns what the directory says of a caller, or why the caller is denied whatever the rules say. The user is
// nil for an application. It reads memory only.
func (p *Proxy) checkUser(c *caller, now time.Time) (*directory.User, *denial) {
	if c.app() != "" { // the directory knows users only
		return nil, p.checkCredential(c, nil, now)
	}
	var user *directory.User
	var ok bool
	if c.session != nil {
		user, ok = p.directory.ByID(c.session.User)
	} else {
		user, ok = p.directory.Lookup(c.token.Key)
	}
	if !ok {
		return nil, deny(unknownUser, "")
	}
	if barred := user.Barred(); barred != "" {
		return user, deny(Reason(barred), "")
	}
	return user, p.checkCredential(c, user, now)
}

// checkCredential returns why the session or the token of a caller is no longer valid for the user, or nil.
func (p *Proxy) checkCredential(c *caller, user *directory.User, now time.Time) *denial {
	switch {
	case c.token == nil:
	case !now.Before(c.token.Expires):
		return deny(tokenRefused, "expired")
	case user != nil && now.Sub(c.token.Issued) >= directory.EndsRemembered:
		return deny(tokenRefused, "issued so long ago, or without iat, that it cannot be told whether its user was deactivated since")
	case user != nil && c.token.IssuedBefore(p.endOf(c.token.Key, user)):
		return deny(tokenRefused, "issued before the user was deactivated")
	default:
		return p.checkToken(c)
	}
	switch _, err := p.sessions.Live(c.session.ID); {
	case err != nil && !isGone(err):
		return deny(directoryStale, err.Error())
	case errors.Is(err, session.ErrExpired):
		return deny(sessionExpired, "")
	case err != nil:
		return deny(sessionEnded, "")
	case c.session.Epoch != user.Epoch:
		return deny(sessionEnded, "started before the user was deactivated, or became another account's")
	}
	return nil
}

// endOf returns when the user, or an earlier one with the same value of the join attribute, was last deactivated,
// suspended or deleted.
func (p *Proxy) endOf(key string, user *directory.User) time.Time {
	if ended := p.directory.EndedAt(key); ended.After(user.DeactivatedAt) {
		return ended
	}
	return user.DeactivatedAt
}

// checkToken returns why the token of a caller no longer proves anything, or nil.
func (p *Proxy) checkToken(c *caller) *denial {
	switch err := p.Provider().Check(c.token, string(c.bearer)); {
	case errors.Is(err, oidc.ErrRefused):
		return deny(tokenRefused, err.Error())
	case err != nil:
		return deny(providerUnavailable, err.Error())
	}
	return nil
}
