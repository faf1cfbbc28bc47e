package proxy

import (
	"net/http"
	"strings"

	"sallyport/proxy/internal/canonical"

	"sallyport/proxy/internal/flow"
)

// resolve parses a return_to that was sent to the origin here. It leads to a host of ours.
func (rt *routing) resolve(text, here string) (target flow.Target, ok bool) {
	return flow.Parse(text, here, rt)
}

// HostOf returns the host of ours that browsers find at origin.
func (rt *routing) HostOf(origin string) (host string, ok bool) {
	host, ok = strings.CutPrefix(origin, rt.public.Scheme+"://")
	if port := rt.public.Port(); ok && port != "" {
		host, ok = strings.CutSuffix(host, ":"+port)
	}
	return host, ok && rt.hasHost(host)
}

// Accepts reports whether a route of host accepts requests for a path: one with lenient paths accepts more than others.
func (rt *routing) Accepts(host, path string) bool {
	path, lenient, err := canonical.Path(path)
	if err != nil || canonical.Under(path, internalRoot) && !rt.isConsole(host, path) {
		return false
	}
	route := rt.find(host, path)
	return route != nil && (!lenient || route.lenient)
}

// browser returns the browser that sent req.
func (p *Proxy) browser(w http.ResponseWriter, r *http.Request, req *request) flow.Browser {
	return flow.Browser{Sessions: p.sessions, Host: req.host, Request: r, Response: w, Received: req.received}
}
