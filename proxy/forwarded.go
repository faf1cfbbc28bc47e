package proxy

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// setForwarded tells the upstream where the request came from.
func (v *visit) setForwarded(h http.Header) {
	h["X-Forwarded-For"] = []string{v.chain}
	h["X-Forwarded-Host"] = []string{v.table.authority(v.host)}
	h["X-Forwarded-Proto"] = []string{v.scheme}
}

// Origin is the address of the client that a request came from, and the scheme
// that the client sees: believed proxies say so.
func (p *Proxy) Origin(r *http.Request) (address, scheme string) {
	v := visit{table: p.table.Load()}
	v.setOrigin(r)
	return v.address, v.scheme
}

// setOrigin fills in where a request came from: the address of the client, that of each believed proxy on the way, and
// the scheme the client sees. What somebody not believed says of others is not repeated.
func (v *visit) setOrigin(r *http.Request) {
	v.scheme = "http"
	if r.TLS != nil {
		v.scheme = "https"
	}
	peer := peerOf(r)
	v.address, v.chain = peer.String(), peer.String()
	if !v.table.believes(peer) {
		return
	}
	if said := r.Header["X-Forwarded-Proto"]; len(said) == 1 && (said[0] == "http" || said[0] == "https") {
		v.scheme = said[0]
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for _, hop := range slices.Backward(hops) {
		addr, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return
		}
		addr = addr.Unmap().WithZone("")
		v.address, v.chain = addr.String(), addr.String()+", "+v.chain
		if !v.table.believes(addr) {
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
