package proxy

import (
	"net/http"

	"sallyport/session"
)

// accept takes the ticket a browser brings from the login host and gives it this host's own cookie.
func (p *Proxy) accept(w http.ResponseWriter, r *http.Request, v *visit) {
	q, here := queryOf(v), v.table.origin(v.host)
	to, _ := v.table.resolve(q.Get("return_to"), here)
	if to.origin != here {
		to = place{origin: here, target: "/"}
	}
	door, _ := session.OneCookie(r.Header, doorCookie)
	cookie, _, err := p.sessions.Redeem(r.Context(), q.Get("ticket"), v.host, bindOf(door))
	switch {
	case err == nil:
		http.SetCookie(w, session.SetCookie(cookie))
		redirect(w, http.StatusFound, to.String())
	case !over(err):
		p.turnDown(w, r, v, refusal{status: http.StatusServiceUnavailable, reason: sessionUnavailable, detail: err.Error()})
	default:
		p.acceptFailed(w, r, v, to)
	}
}

// acceptFailed answers a ticket that is good no more: a browser that is in already goes where it wanted, another is
// told instead of sent round again, lest one that keeps no cookies go in circles.
func (p *Proxy) acceptFailed(w http.ResponseWriter, r *http.Request, v *visit, to place) {
	if _, err := p.standing(r, v); err == nil {
		redirect(w, http.StatusFound, to.String())
		return
	}
	p.notSignedIn(w, r, v, *refused(badRequest, "ticket"), to.String(),
		"This link was made for another browser, was used already, or is more than a minute old. If signing in again does not help, check that your browser accepts cookies.")
}
