package proxy

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// setForwarded tells the upstream where the request came from.
func (req *request) setForwarded(h http.Header) {
	h["X-Forwarded-For"] = []string{req.chain}
	h["X-Forwarded-Host"] = []string{req.routing.authority(req.host)}
	h["X-Forwarded-Proto"] = []string{req.scheme}
}

// Origin returns the address of the client of a request, and the scheme that the client sees. Trusted proxies may
// report both.
func (p *Proxy) Origin(r *http.Request) (address, scheme string) {
	req := newRequest(r, p.routing.Load())
	return req.address, req.scheme
}

// setOrigin sets the address of the client, the chain of trusted proxies between, and the scheme that the client sees. It
// reads the X-Forwarded-* headers from the nearest hop on, and ignores what a hop that is not trusted reports.
func (req *request) setOrigin(r *http.Request) {
	req.scheme = "http"
	if r.TLS != nil {
		req.scheme = "https"
	}
	peer := peerOf(r)
	req.address, req.chain = peer.String(), peer.String()
	if !req.routing.trusts(peer) {
		return
	}
	if proto := r.Header["X-Forwarded-Proto"]; len(proto) == 1 && (proto[0] == "http" || proto[0] == "https") {
		req.scheme = proto[0]
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for _, hop := range slices.Backward(hops) {
		addr, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return
		}
		addr = addr.Unmap().WithZone("")
		req.address, req.chain = addr.String(), addr.String()+", "+req.chain
		if !req.routing.trusts(addr) {
			return
		}
	}
}

// peerOf returns the address at the other end of the connection.
func peerOf(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.IPv4Unspecified() // not TCP; never trusted
	}
	return peer.Addr().Unmap().WithZone("")
}
