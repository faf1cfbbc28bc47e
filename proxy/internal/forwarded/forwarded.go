// Package forwarded says where a request came from: by its connection, and by what trusted proxies report of theirs.
package forwarded

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Origin is where a request came from.
type Origin struct {
	Client netip.Addr
	Chain  string // X-Forwarded-For: Client, and the addresses of the trusted proxies between
	Scheme string // http or https, as the client sees it
}

// Of returns the origin of r. It reads the X-Forwarded-* headers from the nearest hop on, and ignores what a hop that is
// not trusted reports.
func Of(r *http.Request, trusts func(netip.Addr) bool) Origin {
	o := Origin{Scheme: "http"}
	if r.TLS != nil {
		o.Scheme = "https"
	}
	peer := Peer(r)
	o.Client, o.Chain = peer, peer.String()
	if !trusts(peer) {
		return o
	}
	if proto := r.Header["X-Forwarded-Proto"]; len(proto) == 1 && (proto[0] == "http" || proto[0] == "https") {
		o.Scheme = proto[0]
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for _, hop := range slices.Backward(hops) {
		addr, ok := parseHop(hop)
		if !ok {
			break
		}
		o.Client, o.Chain = addr, addr.String()+", "+o.Chain
		if !trusts(addr) {
			break
		}
	}
	return o
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

// Peer returns the address at the other end of the connection.
func Peer(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.IPv4Unspecified() // not TCP; never trusted
	}
	return peer.Addr().Unmap().WithZone("")
}
