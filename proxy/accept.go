package proxy

import (
	"net/http"

	"sallyport/session"
)

// accept takes the ticket a browser brings from the login host and gives it this host's own cookie.
func (p *Proxy) accept(w http.ResponseWriter, r *http.Request, req *request) {
	q, here := queryOf(req), req.routing.origin(req.host)
	target, _ := req.routing.resolve(q.Get("return_to"), here)
	if target.origin != here {
		target = redirectTarget{origin: here, path: "/"}
	}
	door, _ := session.OneCookie(r.Header, bindingCookie)
	cookie, _, err := p.sessions.Redeem(r.Context(), q.Get("ticket"), req.host, bindingOf(door))
	switch {
	case err == nil:
		http.SetCookie(w, session.SetCookie(cookie))
		redirect(w, http.StatusFound, target.String())
	case !isGone(err):
		p.turnDown(w, r, req, denial{status: http.StatusServiceUnavailable, reason: sessionUnavailable, detail: err.Error()})
	default:
		p.acceptFailed(w, r, req, target)
	}
}

// acceptFailed answers a ticket that is good no more: a browser that is in already goes where it wanted, another is
// told instead of sent round again, lest one that keeps no cookies go in circles.
func (p *Proxy) acceptFailed(w http.ResponseWriter, r *http.Request, req *request, target redirectTarget) {
	if _, err := p.currentSession(r, req); err == nil {
		redirect(w, http.StatusFound, target.String())
		return
	}
	p.notSignedIn(w, r, req, *deny(badRequest, "ticket"), target.String(),
		"This link was made for another browser, was used already, or is more than a minute old. If signing in again does not help, check that your browser accepts cookies.")
}
