package proxy

import "net/http"

// ServePlain handles a request that came without TLS where only TLS should: it redirects a browser to the same URL over
// https, and does nothing else.
func (p *Proxy) ServePlain(w http.ResponseWriter, r *http.Request) {
	rw := newResponseWriter(w, r, p.routing.Load().stall)
	rw.discardBody()
	p.handle(rw, r, servePlain)
}

func servePlain(w *responseWriter, r *http.Request, req *request) *denial {
	if denied := req.checkPlain(r); denied != nil {
		return denied
	}
	redirect(w, http.StatusPermanentRedirect, req.routing.origin(req.host)+req.path+req.query)
	return nil
}

// checkPlain returns why req cannot be redirected to https, or nil. A host of ours and a canonical path lead nowhere
// else. A method that could carry a body is denied instead: everybody has seen the body, and its sender should learn
// that.
func (req *request) checkPlain(r *http.Request) *denial {
	if denied := req.readTarget(r); denied != nil {
		return denied
	}
	if !req.routing.hasHost(req.host) || req.routing.public.Scheme != "https" {
		return deny(noRoute, "")
	}
	req.internal = true
	if req.method != http.MethodGet && req.method != http.MethodHead {
		return &denial{reason: methodRefused, detail: req.method + " without TLS", methods: []string{http.MethodGet, http.MethodHead}}
	}
	if route := req.routing.find(req.host, req.path); req.lenient && (route == nil || !route.lenient) {
		return deny(badPath, "lenient spelling on a route with strict paths")
	}
	return nil
}
