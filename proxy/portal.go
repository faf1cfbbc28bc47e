package proxy

import (
	"net/http"
	"time"

	"sallyport/console"
	"sallyport/directory"
	"sallyport/policy"
)

// portal lists what somebody may open, by the rules and groups of this moment.
func (p *Proxy) portal(w http.ResponseWriter, r *http.Request, req *request) {
	user, denied := p.identifyInternal(r, req)
	if denied != nil {
		p.turnDown(w, r, req, *denied)
		return
	}
	page := console.Portal{Who: p.who(req), SignOut: logoutPath}
	if s := req.caller.session; s != nil {
		page.Expires = s.Expires.Format("2 January 15:04 MST")
	}
	for _, r := range req.routing.routes {
		if p.canOpen(req, r, user) {
			page.Routes = append(page.Routes, console.Route{Name: r.name, URL: req.routing.origin(r.host) + r.path, Owner: r.owner})
		}
	}
	p.pages.Portal(w, page)
}

// opens says whether a user's browser may open the front page of a route.
func (p *Proxy) canOpen(req *request, r *route, user *directory.User) bool {
	if !r.session {
		return false
	}
	front := &request{method: http.MethodGet, host: r.host, path: r.path}
	q := policyRequest(front, req.caller, user, time.Now())
	d := r.policy.Decide(&q)
	return d.Allow || d.Reason == policy.LoginTooOld // signing in again opens it
}
