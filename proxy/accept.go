package proxy

import (
	"net/http"

	"sallyport/proxy/internal/flow"
	"sallyport/session"
)

// accept redeems the ticket that a browser brings from the login host, and sets the session cookie of this host.
func (p *Proxy) accept(w http.ResponseWriter, r *http.Request, req *request) *denial {
	q, here := queryOf(req), req.routing.origin(req.host)
	target, _ := req.routing.resolve(q.Get("return_to"), here)
	if target.Origin != here {
		target = flow.Target{Origin: here, Path: "/"}
	}
	browser := p.browser(w, r, req)
	cookie, current, err := p.sessions.Redeem(r.Context(), q.Get("ticket"), req.host, browser.TakeBinding(q.Get("bind")))
	switch {
	case isGone(err):
		return p.invalidTicket(w, r, req, target)
	case err != nil:
		return deny(sessionUnavailable, err.Error())
	}
	http.SetCookie(w, session.SetCookie(cookie))
	req.rememberUser(browser, current)
	redirect(w, http.StatusFound, target.String())
	return nil
}

// invalidTicket handles a ticket that is not valid, or no longer. A browser that is signed in continues. Any other gets a
// page instead of a redirect: a browser that keeps no cookies would be redirected in circles.
func (p *Proxy) invalidTicket(w http.ResponseWriter, r *http.Request, req *request, target flow.Target) *denial {
	if _, ok := p.currentSession(r, req); ok {
		redirect(w, http.StatusFound, target.String())
		return nil
	}
	return denyLogin(badRequest, "ticket", target.String(),
		"This link was made for another browser, was used already, or is more than a minute old. If signing in again does not help, check that your browser accepts cookies.")
}
