// Package forwarded says where a request came from: by its connection, and by what trusted proxies report of theirs.
package forwarded

import (
	"fmt"
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
	peer, text := peerOf(r.RemoteAddr)
	o.Client, o.Chain = peer, text
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
	if hop = strings.TrimSpace(hop); hop == "" { // there is no header: making an error takes longer than all the rest
		return netip.Addr{}, false
	}
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
	peer, _ := peerOf(r.RemoteAddr)
	return peer
}

// peerOf returns the address of a peer, and the same as text. An IPv4 address can be written in one way only, and remote has
// it already.
func peerOf(remote string) (peer netip.Addr, text string) {
	parsed, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.IPv4Unspecified(), netip.IPv4Unspecified().String() // not TCP; never trusted
	}
	if peer = parsed.Addr(); peer.Is4() {
		text, _, _ = strings.Cut(remote, ":")
		return peer, text
	}
	peer = peer.Unmap().WithZone("")
	return peer, peer.String()
}

// ParseTrusted reads whom to trust: a network or one address, but not every address, nor the unspecified one.
func ParseTrusted(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		if addr.Unmap().IsUnspecified() {
			return netip.Prefix{}, fmt.Errorf("%s is the address of no host; write those of your own proxies, for example 10.0.0.0/8", text)
		}
		return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is not a network; write for example 10.0.0.0/8", text)
	case p.Bits() == 0:
		return p, fmt.Errorf("%s is everyone, and anyone could then claim any address; write the networks of your own proxies", text)
	case p.Addr().Is4In6():
		return p, fmt.Errorf("%s is an IPv4 network written as IPv6; write it as IPv4", text)
	case p.Masked().Addr().IsUnspecified():
		return p, fmt.Errorf("%s contains %s, which is the address of no host; write the networks of your own proxies, for example 10.0.0.0/8", text, p.Masked().Addr())
	}
	return p.Masked(), nil
}
