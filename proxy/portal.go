package proxy

import (
	"net/http"
	"time"

	"sallyport/console"
	"sallyport/directory"
	"sallyport/policy"
)

// portal lists the applications that the caller may open, by the current rules and groups.
func (p *Proxy) portal(w http.ResponseWriter, r *http.Request, req *request) *denial {
	user, denied := p.identifyInternal(r, req)
	if denied != nil {
		return denied
	}
	page := console.Portal{Person: p.person(req.caller), SignOut: logoutPath, OtherAccount: otherAccount("/")}
	if s := req.caller.session; s != nil {
		page.Expires = s.Expires.Format("2 January 15:04 MST")
		page.Access = p.console.Portion(r.Context(), console.Caller{User: user, Address: req.address, Public: req.routing.public.String()})
	}
	for _, route := range req.routing.routes {
		if p.canOpen(req, route, user) {
			page.Routes = append(page.Routes, console.Route{Name: route.name, URL: req.routing.origin(route.host) + route.path, Owner: route.owner})
		}
	}
	p.pagesFor(r, req).Portal(w, page)
	return nil
}

// canOpen reports whether the caller's browser may open the first page of a route. A login that is too old does not
// count: the browser is asked to sign in again.
func (p *Proxy) canOpen(req *request, r *route, user *directory.User) bool {
	if !r.session {
		return false
	}
	var q policy.Request
	p.setPolicyRequest(&q, req.forTarget(http.MethodGet, r.host, r.path), req.caller, user, time.Now())
	d := r.policy.Decide(&q)
	return d.Allow || d.Login != nil
}
