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
func (p *Proxy) callback(w http.ResponseWriter, r *http.Request, v *visit) {
	if v.host != v.table.host {
		p.turnDown(w, r, v, *refused(noRoute, "callback on a host other than the login host"))
		return
	}
	q := queryOf(v)
	f, ok := p.takeFlow(w, r, v, q.Get("state"))
	if !ok {
		p.callbackWithoutFlow(w, r, v)
		return
	}
	if !p.returns.Take(v.address) {
		p.turnDown(w, r, v, *refused(tooMany, "logins come back"))
		return
	}
	to, _ := v.table.resolve(f.To, v.table.origin(v.host))
	identity, err := p.provider.Finish(r.Context(), f.Flow, q)
	if err != nil {
		p.finishFailed(w, r, v, to, err)
		return
	}
	user, reason := p.admit(identity)
	v.caller = &caller{user: user, token: &identity}
	if reason != "" {
		p.turnAway(w, r, v, reason)
		return
	}
	p.welcome(w, r, v, f, to)
}

// callbackWithoutFlow answers who comes back without having set out: after the button for going back, most likely.
func (p *Proxy) callbackWithoutFlow(w http.ResponseWriter, r *http.Request, v *visit) {
	if _, err := p.standing(r, v); err == nil {
		redirect(w, http.StatusFound, v.table.public.String()+"/")
		return
	}
	p.countLogin(loginFailed, unknownFlow)
	p.notSignedIn(w, r, v, *refused(badRequest, unknownFlow), "/",
		"This sign-in was not begun in this browser, or it took too long. Begin again.")
}

// finishFailed answers a login that the provider or our checks of its answer refused, or that could not be finished.
func (p *Proxy) finishFailed(w http.ResponseWriter, r *http.Request, v *visit, to place, err error) {
	if !errors.Is(err, oidc.ErrRefused) {
		p.countLogin(loginFailed, providerUnavailable)
		p.log.WarnContext(r.Context(), "login could not be finished", "err", err, "request", v.id)
		p.turnDown(w, r, v, *refused(providerUnavailable, err.Error()))
		return
	}
	why := tokenRefused
	if x := (*oidc.Refusal)(nil); errors.As(err, &x) {
		why = string(x.Reason)
	}
	p.countLogin(loginDenied, why)
	p.log.InfoContext(r.Context(), "login refused", "err", err, "request", v.id)
	_ = p.record(v, audit.Event{Kind: audit.KindLogin, Decision: loginDenied, Reason: why, Code: http.StatusUnauthorized})
	p.notSignedIn(w, r, v, refusal{status: http.StatusUnauthorized, reason: tokenRefused, detail: err.Error()}, to.String(),
		"The identity provider did not sign you in, or its answer could not be accepted. Begin again.")
}

// admit finds the user an identity is, and the reason why they may not come in, or "".
func (p *Proxy) admit(identity oidc.Identity) (*directory.User, string) {
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
func (p *Proxy) turnAway(w http.ResponseWriter, r *http.Request, v *visit, reason string) {
	x := *refused(reason, "login")
	result := loginDenied
	if x.status >= http.StatusInternalServerError {
		result = loginFailed
	}
	p.countLogin(result, reason)
	e := audit.Event{Kind: audit.KindLogin, Decision: loginDenied, Reason: reason, Code: x.status, UserName: v.caller.token.Name}
	if v.caller.user != nil {
		e.User, e.UserName = v.caller.user.ID, v.caller.user.UserName
	}
	_ = p.record(v, e)
	p.turnDown(w, r, v, x)
}

// welcome begins the session, records it, and only then gives the browser its cookie.
func (p *Proxy) welcome(w http.ResponseWriter, r *http.Request, v *visit, f flow, to place) {
	fail := func(reason string, err error) {
		p.countLogin(loginFailed, reason)
		p.turnDown(w, r, v, refusal{status: http.StatusServiceUnavailable, reason: reason, detail: err.Error()})
	}
	user, identity := v.caller.user, v.caller.token
	one, err := p.sessions.Begin(r.Context(), session.Session{User: user.ID, Epoch: user.Epoch, UserName: user.UserName,
		Subject: identity.Subject, ProviderSession: identity.ProviderSession, Address: v.address, Agent: r.UserAgent(), Authenticated: identity.Authenticated, Proven: identity.TimeKnown})
	if err != nil {
		fail(sessionUnavailable, err)
		return
	}
	v.caller = &caller{user: user, session: &one}
	err = p.record(v, audit.Event{Kind: audit.KindLogin, User: user.ID, UserName: user.UserName, Session: one.ID,
		Decision: loginAllowed, Reason: signedIn, Code: http.StatusFound, Revision: p.directory.Revision()})
	if err != nil {
		_ = p.sessions.End(r.Context(), one.ID, session.ReasonReplaced)
		fail(auditUnavailable, err)
		return
	}
	cookie, err := p.replaceSession(r.Context(), r, v, one)
	if err != nil {
		fail(sessionUnavailable, err)
		return
	}
	p.countLogin(loginAllowed, signedIn)
	http.SetCookie(w, session.SetCookie(cookie))
	p.onward(w, r, v, &one, to, f.Bind)
}

// replaceSession grants the new session to this host and ends the one the browser had here before.
func (p *Proxy) replaceSession(ctx context.Context, r *http.Request, v *visit, one session.Session) (cookie string, err error) {
	if had, ok := session.Cookie(r.Header); ok {
		if old, err := p.sessions.Read(had, v.host); err == nil {
			if err := p.sessions.End(ctx, old.ID, session.ReasonReplaced); err != nil && !over(err) {
				return "", err
			}
		}
	}
	return p.sessions.Grant(ctx, one.ID, v.host)
}

// notSignedIn tells that a login came to nothing, and where to begin again.
func (p *Proxy) notSignedIn(w http.ResponseWriter, r *http.Request, v *visit, x refusal, to, why string) {
	if x.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", challenge(refusal{}))
	}
	if !wantsPage(r) {
		writeProblem(w, v, x)
		return
	}
	p.pages.Failed(w, console.Failed{Status: x.status, Title: "Signing in did not work", Why: why, Request: v.id,
		Retry: loginPath + "?return_to=" + url.QueryEscape(to)})
}

// record writes an event of this visit.
func (p *Proxy) record(v *visit, e audit.Event) error {
	e.Time, e.Request, e.Host, e.Method, e.Path, e.Address = v.received, v.id, v.host, v.method, v.path, v.address
	err := p.audit.Write(e)
	if err != nil {
		p.log.Error("audit record not written", "err", err, "request", v.id)
	}
	return err
}
