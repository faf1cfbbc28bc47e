package proxy

import (
	"net/http"
	"time"
)

// ServePlain answers what comes without TLS where only TLS should: a browser that wants to see something of ours is
// sent to the same place over https, and nothing else is done.
func (p *Proxy) ServePlain(w http.ResponseWriter, r *http.Request) {
	answer := newResponseWriter(w, r, p.table.Load().stall)
	answer.closing = true // there is nothing more to ask here
	if answer.hasBody {
		answer.expireDeadline(answer.control.SetReadDeadline) // and no body to wait for
		answer.hurried = true
	}
	v := &visit{id: newID(), received: time.Now().UTC(), table: p.table.Load(), method: r.Method}
	defer func() { p.finish(v, answer, recover()) }()
	if x := v.secure(r); x != nil {
		answer.Header().Set("Allow", "GET, HEAD")
		p.turnDown(answer, r, v, *x)
		return
	}
	redirect(answer, http.StatusPermanentRedirect, v.table.origin(v.host)+v.path+v.query)
}

// secure says why v cannot be sent on. A host that is ours and a path in its one spelling lead nowhere else. What would
// bring a body is not sent on: it has been seen by everybody, and whoever sends it should learn that.
func (v *visit) secure(r *http.Request) *refusal {
	if x := v.read(r); x != nil {
		return x
	}
	if !v.table.knows(v.host) || v.table.public.Scheme != "https" {
		return refused(noRoute, "")
	}
	v.door = true
	if v.method != http.MethodGet && v.method != http.MethodHead {
		return refused(methodRefused, v.method+" without TLS")
	}
	if route := v.table.find(v.host, v.path); v.lenient && (route == nil || !route.lenient) {
		return refused(badPath, "written leniently")
	}
	return nil
}
