package proxy

import (
	"net/http"
	"time"

	"sallyport/console"
	"sallyport/directory"
	"sallyport/policy"
)

// portal lists what somebody may open, by the rules and groups of this moment.
func (p *Proxy) portal(w http.ResponseWriter, r *http.Request, v *visit) {
	user, x := p.identifyAtDoor(r, v)
	if x != nil {
		p.turnDown(w, r, v, *x)
		return
	}
	page := console.Portal{Who: p.who(v), SignOut: logoutPath}
	if s := v.caller.session; s != nil {
		page.Expires = s.Expires.Format("2 January 15:04 MST")
	}
	for _, r := range v.table.routes {
		if p.opens(v, r, user) {
			page.Routes = append(page.Routes, console.Route{Name: r.name, URL: v.table.origin(r.host) + r.path, Owner: r.owner})
		}
	}
	p.pages.Portal(w, page)
}

// opens says whether a user's browser may open the front page of a route.
func (p *Proxy) opens(v *visit, r *route, user *directory.User) bool {
	if !r.session {
		return false
	}
	front := &visit{method: http.MethodGet, host: r.host, path: r.path}
	q := question(front, v.caller, user, time.Now())
	d := r.policy.Decide(&q)
	return d.Allow || d.Reason == policy.LoginTooOld // signing in again opens it
}
