package proxy

import (
	"net/http"
	"strings"

	"sallyport/audit"
	"sallyport/console"
	"sallyport/oidc"
	"sallyport/proxy/internal/flow"
	"sallyport/proxy/internal/header"
	"sallyport/session"
)

// logout ends the session on every host. A GET only shows the button; pressing it sends a POST from this origin, so that
// no other site can sign anybody out.
func (p *Proxy) logout(w http.ResponseWriter, r *http.Request, req *request) *denial {
	after := p.browser(w, r, req).Logout(queryOf(req), req.routing.origin(req.host), req.routing)
	if req.method != http.MethodPost {
		p.showLogout(w, r, req, after)
		return nil
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return deny(crossOrigin, err.Error())
	}
	cookie, err := p.endSession(r, req)
	if err != nil {
		return deny(sessionUnavailable, err.Error())
	}
	ended := cookie != ""
	if past, gone := p.sessions.Past(cookie, req.host); gone && past.IsBreakGlass() {
		after.AtProvider = true // where the session had no login
	}
	http.SetCookie(w, session.ClearCookie())
	if ended && req.host == req.routing.host {
		http.SetCookie(w, session.NewCookie(endedCookie, cookie, 600))
	}
	toProvider := ""
	if after.Switch && req.host == req.routing.host {
		toProvider = p.providerLogout(w, r, req, after)
	}
	switch {
	case toProvider != "":
		redirect(w, http.StatusSeeOther, toProvider)
	case !header.WantsPage(r) && !after.Returns:
		w.WriteHeader(http.StatusNoContent)
	case !ended && req.host != req.routing.host: // the login host may have a session of which this host has no cookie
		redirect(w, http.StatusSeeOther, onLoginHost(req, after.Query()))
	case after.Returns:
		redirect(w, http.StatusSeeOther, after.ReturnTo.String())
	default:
		p.showSignedOut(w, r, req, after)
	}
	return nil
}

// endedCookie is the cookie with which the login host remembers, for as long as the ID token can be read, which session
// the browser had.
const endedCookie = session.CookieName + "-out"

// endSession ends the session of the browser's cookie and returns that cookie; "" if there was no session. It ends the
// session even if the event cannot be recorded: that is no reason to keep somebody signed in. It returns once no replica
// lets anybody in by the session.
func (p *Proxy) endSession(r *http.Request, req *request) (cookie string, err error) {
	cookie, ok := session.Cookie(r.Header)
	if !ok {
		return "", nil
	}
	current, err := p.sessions.Find(r.Context(), cookie, req.host)
	switch {
	case isGone(err): // perhaps by a request that still waits
		if _, ended := p.sessions.Past(cookie, req.host); ended {
			_, err = p.enforcer.Wait(r.Context())
			return "", err
		}
		return "", nil
	case err != nil:
		return "", err
	}
	event := audit.Event{Kind: audit.KindLogout, Request: req.id, User: current.User, UserName: current.UserName, Session: current.ID, Reason: string(session.ReasonLogout)}
	_ = p.record(req, event)
	if err := p.sessions.End(r.Context(), current.ID, session.ReasonLogout); err != nil && !isGone(err) {
		return "", err
	}
	_, err = p.enforcer.Wait(r.Context(), event)
	return cookie, err
}

// showLogout shows the page with the button, or, if nobody is signed in, the page that says so. Only the login host can
// be sure that nobody is.
func (p *Proxy) showLogout(w http.ResponseWriter, r *http.Request, req *request, after flow.Logout) {
	if _, ok := p.currentSession(r, req); !ok {
		if req.host != req.routing.host {
			redirect(w, http.StatusFound, onLoginHost(req, after.Query()))
			return
		}
		if after.Switch && after.AtProvider {
			redirect(w, http.StatusFound, signInPage(after.SignIn.String()))
			return
		}
		if after.ToProvider && !after.Switch {
			if to := p.providerLogout(w, r, req, after); to != "" {
				redirect(w, http.StatusFound, to)
				return
			}
		}
		p.showSignedOut(w, r, req, after)
		return
	}
	page := console.SignOut{Person: p.person(req.caller), Action: logoutPath, SignIn: after.SignIn.String()}
	if after.Returns {
		page.ReturnTo = after.ReturnTo.String()
	}
	p.pagesFor(r, req).SignOut(w, page)
}

// showSignedOut shows the page that says so. It offers to sign in again with the account chooser, and to sign out at the
// provider, by way of the login host: pages on the hosts of applications can be read by those.
func (p *Proxy) showSignedOut(w http.ResponseWriter, r *http.Request, req *request, after flow.Logout) {
	page := console.SignedOut{SignIn: otherAccount(after.SignIn.String())}
	if after.AtProvider && req.routing.provider.SwitchesByLogout(r.Context()) { // which asks who signs in now
		page.SignIn = signInPage(after.SignIn.String())
	}
	if address, _, _ := strings.Cut(req.routing.provider.LogoutURL(oidc.LogoutRequest{}), "?"); address != "" && !after.AtProvider {
		page.Provider, page.ProviderAddress = onLoginHost(req, after.ProviderQuery()), address
	}
	p.pages.SignedOut(w, page)
}

// onLoginHost returns the URL of the logout on the login host.
func onLoginHost(req *request, query string) string {
	return req.routing.public.String() + logoutPath + "?" + query
}

// providerLogout returns where the browser, which has signed out here, signs out at the provider, with the ID token of the
// session that it had: then the provider need not ask. The provider sends it back to the page of the logout.
func (p *Proxy) providerLogout(w http.ResponseWriter, r *http.Request, req *request, after flow.Logout) string {
	o := oidc.LogoutRequest{ReturnTo: req.routing.public.String() + logoutPath, State: p.browser(w, r, req).LogoutState(after)}
	for _, name := range []string{session.CookieName, endedCookie} {
		cookie, ok := session.OneCookie(r.Header, name)
		if past, gone := p.sessions.Past(cookie, req.host); ok && gone && o.IDToken == "" && past.Basis == req.routing.provider.Basis() {
			o.IDToken = oidc.Secret(p.sessions.IDToken(r.Context(), past.ID))
		}
	}
	return req.routing.provider.LogoutURL(o)
}
