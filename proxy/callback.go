package proxy

import (
	"context"
	"errors"
	"net/http"
	"time"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/oidc"
	"sallyport/policy"
	"sallyport/proxy/internal/flow"
	"sallyport/proxy/internal/header"
	"sallyport/session"
)

// The results of logins, and their reasons that are no [Reason].
const (
	loginAllowed = "allow"
	loginDenied  = "deny"
	loginFailed  = "error"
	signedIn     = "signed_in"
	unknownFlow  = "unknown_flow" // the login was started elsewhere, was finished already, or expired
)

// callback finishes a login: the identity provider says who signed in, and the directory whether that user is active.
// Every login starts a new session under a new id and ends the session that the browser had, so that an attacker cannot
// make a person log in to a session of the attacker's (session fixation).
func (p *Proxy) callback(w http.ResponseWriter, r *http.Request, req *request) *denial {
	if req.host != req.routing.host {
		return deny(noRoute, "callback on a host other than the login host")
	}
	q := queryOf(req)
	browser, here := p.browser(w, r, req), req.routing.origin(req.host)
	if flow.HasFragment(q.Get("state")) && header.OpensWindow(r) {
		req.fragment = q.Get("state")
	}
	target, _ := req.routing.resolve(browser.TargetIn(q.Get("state")), here)
	f, ok := browser.Consume(q.Get("state"))
	if !ok {
		return p.callbackWithoutFlow(w, r, req, target)
	}
	if f.To != "" {
		target, _ = req.routing.resolve(f.To, here)
	}
	if !p.throttles.callbacks.Allow(req.address) {
		return deny(tooMany, "callbacks")
	}
	identity, err := req.routing.provider.Finish(r.Context(), f.Flow, q)
	if next := p.Provider(); errors.Is(err, oidc.ErrRejected) && next != req.routing.provider { // the client secret was replaced meanwhile
		identity, err = next.Finish(r.Context(), f.Flow, q)
	}
	if err != nil {
		return p.loginError(r, req, target, err)
	}
	user, reason := p.resolveUser(identity)
	req.caller = &caller{user: user, token: &identity}
	if reason != "" {
		denied := p.loginDenied(req, reason)
		denied.returnTo = target.String()
		return denied
	}
	return p.startSession(w, r, req, f, target)
}

// callbackWithoutFlow handles a callback that belongs to no login of this browser: the person used the back button,
// waited for too long, or has lost the cookie. A browser that is signed in by now continues where the login led. A
// stranger's link cannot make more of it than a link to that page: nobody is signed in here.
func (p *Proxy) callbackWithoutFlow(w http.ResponseWriter, r *http.Request, req *request, target flow.Target) *denial {
	if current, ok := p.currentSession(r, req); ok {
		return p.redirectBack(w, r, req, current, target, "")
	}
	p.metrics.Login(loginFailed, unknownFlow)
	return denyLogin(badRequest, unknownFlow, target.String(), "This sign-in was not started in this browser, or it took too long. Start again.")
}

// loginError denies a login that the provider or our checks of its response rejected, or that could not be finished.
func (p *Proxy) loginError(r *http.Request, req *request, target flow.Target, err error) *denial {
	if !errors.Is(err, oidc.ErrRefused) {
		p.metrics.Login(loginFailed, string(providerUnavailable))
		p.logOf(req).WarnContext(r.Context(), "login could not be finished", "err", err)
		return denyLogin(providerUnavailable, err.Error(), target.String(), unfinishedText(err))
	}
	reason := string(tokenRefused)
	if refusal := (*oidc.Refusal)(nil); errors.As(err, &refusal) {
		reason = string(refusal.Reason)
	}
	p.metrics.Login(loginDenied, reason)
	p.logOf(req).InfoContext(r.Context(), "login rejected", "err", err)
	_ = p.record(req, audit.Event{Kind: audit.KindLogin, Decision: loginDenied, Reason: reason, Code: http.StatusUnauthorized})
	return denyLogin(tokenRefused, err.Error(), target.String(), rejectedText(oidc.Reason(reason)))
}

// unfinishedText says why a login could not be finished, through no fault of the person.
func unfinishedText(err error) string {
	if errors.Is(err, oidc.ErrRejected) {
		return "The identity provider rejected this service, not you: the service is not set up as the provider expects. What the provider said is in the log of this service."
	}
	return "The identity provider does not respond. Try again in a moment."
}

// rejectedText says why a login was rejected.
func rejectedText(reason oidc.Reason) string {
	switch reason {
	case oidc.LoginRefused:
		return "The identity provider did not sign you in. Start again, or use another account."
	case oidc.TooWeak:
		return "The identity provider signed you in, but not as the page demands. Start again and use another way to sign in."
	case oidc.CodeRefused:
		return "This sign-in was used already, or took too long. Start again."
	}
	return "The response of the identity provider could not be accepted. Start again."
}

// resolveUser returns the user that an identity belongs to, and the reason why the user may not sign in, or "".
func (p *Proxy) resolveUser(identity oidc.Identity) (*directory.User, Reason) {
	if p.directory.Fresh() != nil {
		return nil, directoryStale
	}
	user, ok := p.directory.Lookup(identity.Key)
	if !ok {
		return nil, unknownUser
	}
	return user, Reason(user.Barred())
}

// loginDenied denies the login of somebody who proved who they are, and may not sign in.
func (p *Proxy) loginDenied(req *request, reason Reason) *denial {
	denied := deny(reason, "login")
	result := loginDenied
	if denied.status() >= http.StatusInternalServerError {
		result = loginFailed
	}
	p.metrics.Login(result, string(reason))
	e := audit.Event{Kind: audit.KindLogin, Decision: loginDenied, Reason: string(reason), Code: denied.status()}
	p.setCaller(&e, req)
	_ = p.record(req, e)
	return denied
}

// startSession starts the session and records it, and only then sets the browser's cookie.
func (p *Proxy) startSession(w http.ResponseWriter, r *http.Request, req *request, f flow.Flow, target flow.Target) *denial {
	fail := func(reason Reason, err error) *denial {
		p.metrics.Login(loginFailed, string(reason))
		return deny(reason, err.Error())
	}
	user, identity := req.caller.user, req.caller.token
	other := p.sessionOfOtherTab(r, req, f, user)
	if other != nil && other.Subject == identity.Subject && other.ProviderSession == identity.ProviderSession && meets(other, demandBy(f.Flow), req.received) {
		return p.continueSession(w, r, req, other, target)
	}
	started, err := p.sessions.Begin(r.Context(), session.Session{User: user.ID, Epoch: user.Epoch, UserName: user.UserName,
		Subject: identity.Subject, Basis: identity.Basis, ProviderSession: identity.ProviderSession, Address: req.address, Agent: r.UserAgent(),
		Authenticated: identity.Authenticated, Proven: identity.TimeKnown, ACR: identity.ACR, AMR: identity.AMR, Contexts: identity.Contexts, IDToken: session.IDToken(identity.IDToken)})
	if err != nil {
		return fail(sessionUnavailable, err)
	}
	req.caller = &caller{user: user, session: &started}
	err = p.record(req, audit.Event{Kind: audit.KindLogin, User: user.ID, UserName: user.UserName, Session: started.ID,
		Decision: loginAllowed, Reason: signedIn, Code: http.StatusFound, Revision: p.directory.Revision()})
	if err != nil {
		_ = p.sessions.End(r.Context(), started.ID, session.ReasonReplaced)
		return fail(auditUnavailable, err)
	}
	cookie, err := p.replaceSession(r.Context(), r, req, started, other)
	if err != nil {
		return fail(sessionUnavailable, err)
	}
	p.metrics.Login(loginAllowed, signedIn)
	http.SetCookie(w, session.SetCookie(cookie))
	req.rememberUser(p.browser(w, r, req), &started)
	return p.redirectBack(w, r, req, &started, target, "")
}

// demandBy returns what a login was begun for.
func demandBy(f oidc.Flow) policy.Login {
	return policy.Login{MaxAge: time.Duration(f.MaxAge) * time.Second, ACR: f.ACR, AMR: f.AMR, Context: f.Contexts}
}

// sessionOfOtherTab returns the browser's session if it belongs to the same user and is not the one that the browser had
// when the login began: a login in another tab came first. Times would not tell: that tab's session may begin before the
// request arrives that begins this login, and yet after the browser sent it. A break-glass session began by no login, and
// gives way to one.
func (p *Proxy) sessionOfOtherTab(r *http.Request, req *request, f flow.Flow, user *directory.User) *session.Session {
	current := p.browserSession(r, req)
	if current == nil || current.ID == f.Had || current.User != user.ID || current.Epoch != user.Epoch || current.IsBreakGlass() {
		return nil
	}
	return current
}

// browserSession returns the session whose cookie the browser sent; nil for one that is over, and for none.
func (p *Proxy) browserSession(r *http.Request, req *request) *session.Session {
	sent, ok := session.Cookie(r.Header)
	if !ok {
		return nil
	}
	current, err := p.sessions.Find(r.Context(), sent, req.host)
	if err != nil {
		return nil
	}
	return current
}

// continueSession records the login and continues with the session that another tab began. A second one would end the
// first, and the way back of the other tab with it.
func (p *Proxy) continueSession(w http.ResponseWriter, r *http.Request, req *request, current *session.Session, target flow.Target) *denial {
	user := req.caller.user
	req.caller = &caller{user: user, session: current}
	err := p.record(req, audit.Event{Kind: audit.KindLogin, User: user.ID, UserName: user.UserName, Session: current.ID,
		Decision: loginAllowed, Reason: signedIn, Code: http.StatusFound, Revision: p.directory.Revision()})
	if err != nil {
		p.metrics.Login(loginFailed, string(auditUnavailable))
		return deny(auditUnavailable, err.Error())
	}
	p.metrics.Login(loginAllowed, signedIn)
	return p.redirectBack(w, r, req, current, target, "")
}

// replaceSession ends the session that the browser had on this host and grants the new one to it. It leaves keep alone,
// which another tab of the same user began a moment ago and may still be on its way with.
func (p *Proxy) replaceSession(ctx context.Context, r *http.Request, req *request, started session.Session, keep *session.Session) (cookie string, err error) {
	if old := p.browserSession(r, req); old != nil && (keep == nil || old.ID != keep.ID) {
		if err := p.sessions.End(ctx, old.ID, session.ReasonReplaced); err != nil && !isGone(err) {
			return "", err
		}
	}
	return p.sessions.NewToken(ctx, started.ID, req.host)
}
