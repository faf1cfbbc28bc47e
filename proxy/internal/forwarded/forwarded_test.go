package forwarded

import (
	"net/http"
	"net/netip"
	"testing"
)

// TestOf_Peer checks which address a connection has, and that its text is the usual one.
func TestOf_Peer(t *testing.T) {
	for remote, want := range map[string]string{"192.0.2.1:50001": "192.0.2.1", "[::ffff:192.0.2.1]:50001": "192.0.2.1", "[2001:DB8:0::1]:443": "2001:db8::1",
		"[fe80::1%eth0]:443": "fe80::1", "": "0.0.0.0", "@": "0.0.0.0", "192.0.2.1": "0.0.0.0", "[192.0.2.1]:1": "0.0.0.0", "192.0.2.01:1": "0.0.0.0", "x:1": "0.0.0.0"} {
		o := Of(&http.Request{RemoteAddr: remote}, func(netip.Addr) bool { return false })
		if o.Client.String() != want || o.Chain != want {
			t.Errorf("%q: %s, %q; want %s", remote, o.Client, o.Chain, want)
		}
	}
}

// TestParseHop checks which elements of X-Forwarded-For are addresses, with and without a port.
func TestParseHop(t *testing.T) {
	for text, want := range map[string]string{"1.1.1.1": "1.1.1.1", " 1.1.1.1:1 ": "1.1.1.1", "1.1.1.1:65535": "1.1.1.1", "2001:db8::1": "2001:db8::1",
		"[2001:db8::1]:443": "2001:db8::1", "[fe80::1%eth0]:443": "fe80::1", "::ffff:1.1.1.1": "1.1.1.1", "2001:db8::1:443": "2001:db8::1:443"} {
		if addr, ok := parseHop(text); !ok || addr.String() != want {
			t.Errorf("%q: %s, %t", text, addr, ok)
		}
	}
	for _, text := range []string{"", "unknown", "_hidden", "1.1.1.1:", "1.1.1.1:0", "1.1.1.1:080", "1.1.1.1:+80", "1.1.1.1:65536", "1.1.1.1:http", "1.1.1.1:80:80",
		"1.1.1.1 :80", "1.1.1.1: 80", "[1.1.1.1]:80", "[1.1.1.1]", "[2001:db8::1]", "[2001:db8::1]:", "[2001:db8::1]80", "[2001:db8::1]:-1", "localhost:80",
		"01.1.1.1:80", ":80", "\"1.1.1.1:80\""} {
		if addr, ok := parseHop(text); ok {
			t.Errorf("%q is read as %s", text, addr)
		}
	}
}
