package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"sallyport/audit"
	"sallyport/console"
	"sallyport/directory"
	"sallyport/oidc"
	"sallyport/session"
)

// Results of logins and, of those that are no refusal's, their reasons.
const (
	loginAllowed = "allow"
	loginDenied  = "deny"
	loginFailed  = "error"
	signedIn     = "signed_in"
	unknownFlow  = "unknown_flow" // not begun in this browser, done already, or too long ago
)

// callback finishes a login: the identity provider says who came, the directory whether they belong. Every login
// begins a session of its own under a new name and ends the one the browser had, so that nobody's login can continue
// a session that somebody else prepared.
func (p *Proxy) callback(w http.ResponseWriter, r *http.Request, req *request) {
	if req.host != req.routing.host {
		p.turnDown(w, r, req, *deny(noRoute, "callback on a host other than the login host"))
		return
	}
	q := queryOf(req)
	f, ok := p.consumeFlow(w, r, req, q.Get("state"))
	if !ok {
		p.callbackWithoutFlow(w, r, req)
		return
	}
	if !p.loginReturns.Allow(req.address) {
		p.turnDown(w, r, req, *deny(tooMany, "logins come back"))
		return
	}
	target, _ := req.routing.resolve(f.To, req.routing.origin(req.host))
	identity, err := p.provider.Finish(r.Context(), f.Flow, q)
	if err != nil {
		p.finishFailed(w, r, req, target, err)
		return
	}
	user, reason := p.resolveUser(identity)
	req.caller = &caller{user: user, token: &identity}
	if reason != "" {
		p.denyLogin(w, r, req, reason)
		return
	}
	p.startSession(w, r, req, f, target)
}

// callbackWithoutFlow answers who comes back without having set out: after the button for going back, most likely.
func (p *Proxy) callbackWithoutFlow(w http.ResponseWriter, r *http.Request, req *request) {
	if _, err := p.currentSession(r, req); err == nil {
		redirect(w, http.StatusFound, req.routing.public.String()+"/")
		return
	}
	p.countLogin(loginFailed, unknownFlow)
	p.notSignedIn(w, r, req, *deny(badRequest, unknownFlow), "/",
		"This sign-in was not begun in this browser, or it took too long. Begin again.")
}

// finishFailed answers a login that the provider or our checks of its answer refused, or that could not be finished.
func (p *Proxy) finishFailed(w http.ResponseWriter, r *http.Request, req *request, target redirectTarget, err error) {
	if !errors.Is(err, oidc.ErrRefused) {
		p.countLogin(loginFailed, providerUnavailable)
		p.log.WarnContext(r.Context(), "login could not be finished", "err", err, "request", req.id)
		p.turnDown(w, r, req, *deny(providerUnavailable, err.Error()))
		return
	}
	why := tokenRefused
	if x := (*oidc.Refusal)(nil); errors.As(err, &x) {
		why = string(x.Reason)
	}
	p.countLogin(loginDenied, why)
	p.log.InfoContext(r.Context(), "login refused", "err", err, "request", req.id)
	_ = p.record(req, audit.Event{Kind: audit.KindLogin, Decision: loginDenied, Reason: why, Code: http.StatusUnauthorized})
	p.notSignedIn(w, r, req, denial{status: http.StatusUnauthorized, reason: tokenRefused, detail: err.Error()}, target.String(),
		"The identity provider did not sign you in, or its answer could not be accepted. Begin again.")
}

// admit finds the user an identity is, and the reason why they may not come in, or "".
func (p *Proxy) resolveUser(identity oidc.Identity) (*directory.User, string) {
	if p.directory.Fresh() != nil {
		return nil, directoryStale
	}
	user, ok := p.directory.Lookup(identity.Key)
	switch {
	case !ok:
		return nil, unknownUser
	case user.Damaged:
		return user, damagedRecord
	case user.Suspended != nil:
		return user, suspendedUser
	case !user.Active:
		return user, inactiveUser
	}
	return user, ""
}

// turnAway answers somebody who has proved who they are and does not belong, or of whom we cannot tell.
func (p *Proxy) denyLogin(w http.ResponseWriter, r *http.Request, req *request, reason string) {
	denied := *deny(reason, "login")
	result := loginDenied
	if denied.status >= http.StatusInternalServerError {
		result = loginFailed
	}
	p.countLogin(result, reason)
	e := audit.Event{Kind: audit.KindLogin, Decision: loginDenied, Reason: reason, Code: denied.status, UserName: req.caller.token.Name}
	if req.caller.user != nil {
		e.User, e.UserName = req.caller.user.ID, req.caller.user.UserName
	}
	_ = p.record(req, e)
	p.turnDown(w, r, req, denied)
}

// welcome begins the session, records it, and only then gives the browser its cookie.
func (p *Proxy) startSession(w http.ResponseWriter, r *http.Request, req *request, f flow, target redirectTarget) {
	fail := func(reason string, err error) {
		p.countLogin(loginFailed, reason)
		p.turnDown(w, r, req, denial{status: http.StatusServiceUnavailable, reason: reason, detail: err.Error()})
	}
	user, identity := req.caller.user, req.caller.token
	one, err := p.sessions.Begin(r.Context(), session.Session{User: user.ID, Epoch: user.Epoch, UserName: user.UserName,
		Subject: identity.Subject, ProviderSession: identity.ProviderSession, Address: req.address, Agent: r.UserAgent(), Authenticated: identity.Authenticated, Proven: identity.TimeKnown})
	if err != nil {
		fail(sessionUnavailable, err)
		return
	}
	req.caller = &caller{user: user, session: &one}
	err = p.record(req, audit.Event{Kind: audit.KindLogin, User: user.ID, UserName: user.UserName, Session: one.ID,
		Decision: loginAllowed, Reason: signedIn, Code: http.StatusFound, Revision: p.directory.Revision()})
	if err != nil {
		_ = p.sessions.End(r.Context(), one.ID, session.ReasonReplaced)
		fail(auditUnavailable, err)
		return
	}
	cookie, err := p.replaceSession(r.Context(), r, req, one)
	if err != nil {
		fail(sessionUnavailable, err)
		return
	}
	p.countLogin(loginAllowed, signedIn)
	http.SetCookie(w, session.SetCookie(cookie))
	p.redirectBack(w, r, req, &one, target, f.Bind)
}

// replaceSession grants the new session to this host and ends the one the browser had here before.
func (p *Proxy) replaceSession(ctx context.Context, r *http.Request, req *request, one session.Session) (cookie string, err error) {
	if had, ok := session.Cookie(r.Header); ok {
		if old, err := p.sessions.Read(had, req.host); err == nil {
			if err := p.sessions.End(ctx, old.ID, session.ReasonReplaced); err != nil && !isGone(err) {
				return "", err
			}
		}
	}
	return p.sessions.NewToken(ctx, one.ID, req.host)
}

// notSignedIn tells that a login came to nothing, and where to begin again.
func (p *Proxy) notSignedIn(w http.ResponseWriter, r *http.Request, req *request, denied denial, to, why string) {
	if denied.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", challenge(denial{}))
	}
	if !wantsPage(r) {
		writeProblem(w, req, denied)
		return
	}
	p.pages.Failed(w, console.Failed{Status: denied.status, Title: "Signing in did not work", Why: why, Request: req.id,
		Retry: loginPath + "?return_to=" + url.QueryEscape(to)})
}

// record writes an event of this visit.
func (p *Proxy) record(req *request, e audit.Event) error {
	e.Time, e.Request, e.Host, e.Method, e.Path, e.Address = req.received, req.id, req.host, req.method, req.path, req.address
	err := p.audit.Write(e)
	if err != nil {
		p.log.Error("audit record not written", "err", err, "request", req.id)
	}
	return err
}
