package proxy

import (
	"net/http"
	"time"

	"sallyport/console"
	"sallyport/directory"
	"sallyport/policy"
	"sallyport/proxy/internal/canonical"
)

// portal lists the applications that the caller may open, by the current rules and groups.
func (p *Proxy) portal(w http.ResponseWriter, r *http.Request, req *request) *denial {
	user, denied := p.identifyInternal(r, req)
	if denied != nil {
		return denied
	}
	c := p.consoleCaller(req)
	c.User, c.Session, c.Person = user, req.caller.session, p.person(req.caller)
	reach := console.Reach{OtherAccount: otherAccount("/")}
	if req.routing.console != nil && p.canOpen(req, req.routing.console, user) {
		reach.Console = consolePath + "/"
	}
	for _, route := range req.routing.routes {
		if route.session && !canonical.IsWildcard(route.host) { // there is no address that could be opened
			reach.Routes = append(reach.Routes, p.reachable(req, route, user))
		}
	}
	p.console.Portal(w, r, c, reach)
	return nil
}

// reachable returns what the portal needs to know of a route.
func (p *Proxy) reachable(req *request, r *route, user *directory.User) console.Reachable {
	return console.Reachable{Name: r.name, URL: req.routing.origin(r.host) + r.path, Owner: r.owner, Open: p.canOpen(req, r, user)}
}

// portalURL returns where the portal is; "" if a route has its place, or if req is for the portal itself.
func (req *request) portalURL() string {
	rt := req.routing
	if rt.find(rt.host, "/") != nil || !rt.hasHost(req.host) || req.host == rt.host && req.path == "/" {
		return ""
	}
	return rt.public.String() + "/"
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
