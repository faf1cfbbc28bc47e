package proxy

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
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
	req.client, req.address, req.chain = peer, peer.String(), peer.String()
	if !req.routing.trusts(peer) {
		return
	}
	if proto := r.Header["X-Forwarded-Proto"]; len(proto) == 1 && (proto[0] == "http" || proto[0] == "https") {
		req.scheme = proto[0]
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for _, hop := range slices.Backward(hops) {
		addr, ok := parseHop(hop)
		if !ok {
			return
		}
		req.client, req.address, req.chain = addr, addr.String(), addr.String()+", "+req.chain
		if !req.routing.trusts(addr) {
			return
		}
	}
}

// parseHop returns the address of one element of X-Forwarded-For. Some proxies, such as Azure Application Gateway, write
// the port behind it: 192.0.2.1:50001 or [2001:db8::1]:50001.
func parseHop(hop string) (addr netip.Addr, ok bool) {
	hop = strings.TrimSpace(hop)
	addr, err := netip.ParseAddr(hop)
	if err != nil {
		withPort, err := netip.ParseAddrPort(hop)
		if err != nil || !strings.HasSuffix(hop, ":"+strconv.Itoa(int(withPort.Port()))) || withPort.Port() == 0 {
			return netip.Addr{}, false
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone(""), true
}

// peerOf returns the address at the other end of the connection.
func peerOf(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.IPv4Unspecified() // not TCP; never trusted
	}
	return peer.Addr().Unmap().WithZone("")
}
