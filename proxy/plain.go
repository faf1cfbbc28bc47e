package proxy

import (
	"net/http"
	"time"
)

// ServePlain answers what comes without TLS where only TLS should: a browser that wants to see something of ours is
// sent to the same place over https, and nothing else is done.
func (p *Proxy) ServePlain(w http.ResponseWriter, r *http.Request) {
	answer := newResponseWriter(w, r, p.routing.Load().stall)
	answer.closing = true // there is nothing more to ask here
	if answer.hasBody {
		answer.expireDeadline(answer.control.SetReadDeadline) // and no body to wait for
		answer.hurried = true
	}
	req := &request{id: newID(), received: time.Now().UTC(), routing: p.routing.Load(), method: r.Method}
	defer func() { p.finish(req, answer, recover()) }()
	if denied := req.redirectableToHTTPS(r); denied != nil {
		answer.Header().Set("Allow", "GET, HEAD")
		p.turnDown(answer, r, req, *denied)
		return
	}
	redirect(answer, http.StatusPermanentRedirect, req.routing.origin(req.host)+req.path+req.query)
}

// secure says why v cannot be sent on. A host that is ours and a path in its one spelling lead nowhere else. What would
// bring a body is not sent on: it has been seen by everybody, and whoever sends it should learn that.
func (req *request) redirectableToHTTPS(r *http.Request) *denial {
	if denied := req.read(r); denied != nil {
		return denied
	}
	if !req.routing.hasHost(req.host) || req.routing.public.Scheme != "https" {
		return deny(noRoute, "")
	}
	req.internal = true
	if req.method != http.MethodGet && req.method != http.MethodHead {
		return deny(methodRefused, req.method+" without TLS")
	}
	if route := req.routing.find(req.host, req.path); req.lenient && (route == nil || !route.lenient) {
		return deny(badPath, "written leniently")
	}
	return nil
}
