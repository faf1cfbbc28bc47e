package proxy

import (
	"net/http"
	"strings"

	"sallyport/proxy/internal/forwarded"
)

// Origin returns the address of the client of a request, and the scheme that the client sees. Trusted proxies may
// report both.
func (p *Proxy) Origin(r *http.Request) (address, scheme string) {
	req := newRequest(r, p.routing.Load())
	return req.address, req.scheme
}

// setOrigin sets the address of the client, the chain of trusted proxies between, and the scheme that the client sees.
func (req *request) setOrigin(r *http.Request) {
	o := forwarded.Of(r, req.routing.trusts)
	req.client, req.chain, req.scheme = o.Client, o.Chain, o.Scheme
	req.address, _, _ = strings.Cut(o.Chain, ",") // it begins with the client
}

// hstsHeader returns the value of Strict-Transport-Security for the response, which is "" unless the client used https and
// a host of ours.
func (req *request) hstsHeader() string {
	if req.scheme != "https" || !req.routing.hasHost(req.host) {
		return ""
	}
	return req.routing.hsts
}
