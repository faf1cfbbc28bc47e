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

// Origin is the address of the client that a request came from, and the scheme
// that the client sees: believed proxies say so.
func (p *Proxy) Origin(r *http.Request) (address, scheme string) {
	req := newRequest(r, p.routing.Load())
	return req.address, req.scheme
}

// setOrigin fills in where a request came from: the address of the client, that of each believed proxy on the way, and
// the scheme the client sees. What somebody not believed says of others is not repeated.
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
	if said := r.Header["X-Forwarded-Proto"]; len(said) == 1 && (said[0] == "http" || said[0] == "https") {
		req.scheme = said[0]
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

func peerOf(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.IPv4Unspecified() // not TCP; believed by nobody, for 0.0.0.0/0 is refused
	}
	return peer.Addr().Unmap().WithZone("")
}
