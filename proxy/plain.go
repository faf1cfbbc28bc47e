package proxy

import (
	"net/http"

	"sallyport/proxy/internal/response"
)

// ServePlain handles a request on the listener without TLS, where no application is served: it redirects a browser to
// the same URL over https, and does nothing else.
func (p *Proxy) ServePlain(w http.ResponseWriter, r *http.Request) {
	rw := response.New(w, r, p.routing.Load().stall)
	rw.DiscardBody()
	p.handle(rw, r, servePlain)
}

func servePlain(w *response.Writer, r *http.Request, req *request) *denial {
	if denied := req.checkPlain(r); denied != nil {
		return denied
	}
	redirect(w, http.StatusPermanentRedirect, req.routing.origin(req.host)+req.path+req.query)
	return nil
}

// checkPlain returns why req cannot be redirected to https, or nil. Because the host is ours and the path is canonical,
// the redirect cannot lead to another site. A method that may have a body is denied: the body was sent unencrypted, and
// a redirect would hide that from its sender.
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
