package proxy

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sallyport/console"
	"sallyport/oidc"
	"sallyport/policy"
	"sallyport/proxy/internal/canonical"
	"sallyport/proxy/internal/flow"
	"sallyport/proxy/internal/header"
	"sallyport/proxy/internal/stepup"
	"sallyport/session"
)

// loginAndReturn redirects a browser to log in and to return to the URL that was denied.
func (p *Proxy) loginAndReturn(w http.ResponseWriter, r *http.Request, req *request, demand *policy.Login) {
	var o loginOptions
	if demand != nil {
		o.demand = *demand
	}
	here := req.routing.origin(req.host)
	for _, path := range []string{req.path + canonical.EscapeQuery(req.query), req.path, "/"} {
		if target, ok := req.routing.resolve(here+path, here); ok {
			p.redirectToLogin(w, r, req, target, o, "")
			return
		}
	}
}

// redirectToLogin redirects a browser to the login host, to continue at target. A browser that comes from the login host
// with a handoff to this host is bound first (see package flow).
func (p *Proxy) redirectToLogin(w http.ResponseWriter, r *http.Request, req *request, target flow.Target, o loginOptions, handoff string) {
	q := url.Values{"return_to": {target.String()}}
	stepup.SetParameters(q, &o.demand)
	if o.selectAccount {
		q.Set("prompt", promptSelectAccount)
	}
	if handoff != "" && target.Origin == req.routing.origin(req.host) {
		q.Set("handoff", handoff)
		q.Set("bind", p.browser(w, r, req).Bind())
	}
	status := http.StatusFound
	if req.authClient != nil && !req.authClient.relaysRedirects {
		w.Header().Set("WWW-Authenticate", challenge(deny(notSignedIn, "")))
		status = http.StatusUnauthorized
	}
	redirect(w, status, req.routing.public.String()+loginPath+"?"+q.Encode())
}

// promptSelectAccount is the value of the parameter prompt with which a login asks for the account.
const promptSelectAccount = "select_account"

// login leads a browser to return_to: at once if it is signed in, otherwise by way of the identity provider. Logins
// happen on the login host; every other host redirects there.
func (p *Proxy) login(w http.ResponseWriter, r *http.Request, req *request) *denial {
	q := queryOf(req)
	target, _ := req.routing.resolve(q.Get("return_to"), req.routing.origin(req.host))
	o := loginOptions{demand: stepup.FromParameters(q), selectAccount: q.Get("prompt") == promptSelectAccount}
	if req.host != req.routing.host {
		p.redirectToLogin(w, r, req, target, o, q.Get("handoff"))
		return nil
	}
	if current, ok := p.currentSession(r, req); ok && !o.selectAccount && meets(current, o.demand, req.received) {
		host, _ := req.routing.HostOf(target.Origin)
		return p.redirectBack(w, r, req, current, target, p.browser(w, r, req).Verify(q.Get("handoff"), q.Get("bind"), current.ID, host))
	}
	if o.selectAccount && req.routing.provider.SwitchesByLogout(r.Context()) {
		person := console.Person{}
		if current := p.browserSession(r, req); current != nil {
			person = p.person(&caller{session: current})
		}
		p.pagesFor(r, req).Switch(w, console.Switch{Person: person, Action: logoutPath, SignIn: target.String()})
		return nil
	}
	return p.beginLogin(w, r, req, target, o)
}

// loginOptions say what a login asks for beyond who the person is.
type loginOptions struct {
	demand        policy.Login // how the person has to sign in
	selectAccount bool         // the provider shall ask for the account
}

// beginLogin redirects the browser to the identity provider.
func (p *Proxy) beginLogin(w http.ResponseWriter, r *http.Request, req *request, target flow.Target, o loginOptions) *denial {
	if !p.throttles.logins.Allow(req.address) {
		return deny(tooMany, "logins started")
	}
	browser := p.browser(w, r, req)
	carry, complete, err := browser.SealTarget(target)
	if err != nil {
		return deny(sessionUnavailable, err.Error())
	}
	location, started, err := req.routing.provider.BeginWith(r.Context(), oidc.LoginOptions{MaxAge: o.demand.MaxAge, Stronger: oidc.Stronger{ACR: o.demand.ACR, AMR: o.demand.AMR, Contexts: o.demand.Context}, SelectAccount: o.selectAccount, Carry: carry})
	if err != nil {
		return &denial{reason: providerUnavailable, detail: err.Error(), returnTo: target.String()}
	}
	f := flow.Flow{Flow: started, At: req.received.UnixNano()}
	if current := p.browserSession(r, req); current != nil {
		f.Had = current.ID
	}
	if !complete {
		f.To = target.String()
	}
	if err := browser.Store(f); err != nil {
		return deny(sessionUnavailable, err.Error())
	}
	if header.OpensWindow(r) {
		p.pagesFor(r, req).Continue(w, console.Continue{Next: location, State: started.State + "." + carry})
		return nil
	}
	redirect(w, http.StatusFound, location)
	return nil
}

// meets reports whether the login of a session is as demanded.
func meets(s *session.Session, demand policy.Login, now time.Time) bool {
	recent := demand.MaxAge == 0 || s.Proven && now.Before(s.Authenticated.Add(demand.MaxAge))
	return recent && demand.Enough((&caller{session: s}).strength())
}

// currentSession returns the session of the browser on this host if its user may still use it, and makes that user the
// caller of req.
func (p *Proxy) currentSession(r *http.Request, req *request) (*session.Session, bool) {
	if denied := p.identifySession(r, req); denied != nil || req.caller == nil {
		return nil, false
	}
	if _, denied := p.currentUser(req); denied != nil {
		req.caller = nil
		return nil, false
	}
	return req.caller.session, true
}

// redirectBack redirects a signed-in browser to target. If target is on another host, that host gets a ticket; it has to
// bind the browser before (see package flow).
func (p *Proxy) redirectBack(w http.ResponseWriter, r *http.Request, req *request, current *session.Session, target flow.Target, binding string) *denial {
	host, _ := req.routing.HostOf(target.Origin)
	if host == req.host {
		p.leadBack(w, req, target.String())
		return nil
	}
	if binding == "" {
		handoff, err := p.browser(w, r, req).SealHandoff(current.ID, host)
		if err != nil {
			return deny(sessionUnavailable, err.Error())
		}
		q := url.Values{"handoff": {handoff}, "return_to": {target.Path}}
		p.leadBack(w, req, target.Origin+loginPath+"?"+q.Encode())
		return nil
	}
	ticket, err := p.sessions.Ticket(r.Context(), current.ID, host, binding)
	switch {
	case isGone(err):
		return p.beginLogin(w, r, req, target, loginOptions{})
	case err != nil:
		return deny(sessionUnavailable, err.Error())
	}
	q := url.Values{"ticket": {ticket}, "bind": {binding}, "return_to": {target.Path}}
	p.leadBack(w, req, target.Origin+acceptPath+"?"+q.Encode())
	return nil
}

// leadBack leads a browser on, with the fragment that it kept at the provider if it kept one.
func (p *Proxy) leadBack(w http.ResponseWriter, req *request, location string) {
	if req.fragment == "" {
		redirect(w, http.StatusFound, location)
		return
	}
	p.pages.Continue(w, console.Continue{Next: location, State: req.fragment, Back: true})
}

// isGone reports whether err means that there is no such session, or no longer.
func isGone(err error) bool {
	return errors.Is(err, session.ErrNone) || errors.Is(err, session.ErrEnded) || errors.Is(err, session.ErrExpired)
}

// queryOf returns the query of req, as far as it can be parsed.
func queryOf(req *request) url.Values {
	q, _ := url.ParseQuery(strings.TrimPrefix(req.query, "?"))
	return q
}
