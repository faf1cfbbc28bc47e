package proxy

import (
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func TestForwardedFor(t *testing.T) {
	for _, c := range []struct {
		name    string
		trusted []string
		headers []string
		address string
		chain   string
		proto   string
	}{
		{"no_trusted_proxy", nil, []string{"X-Forwarded-For", "1.1.1.1", "X-Forwarded-Proto", "http"}, "127.0.0.1", "127.0.0.1", "https"},
		{"peer_outside_trusted_network", []string{"10.0.0.0/8"}, []string{"X-Forwarded-For", "1.1.1.1", "X-Forwarded-Proto", "http"}, "127.0.0.1", "127.0.0.1", "https"},
		{"one_trusted_proxy", []string{"127.0.0.0/8"}, []string{"X-Forwarded-For", "1.1.1.1", "X-Forwarded-Proto", "http"}, "1.1.1.1", "1.1.1.1, 127.0.0.1", "http"},
		{"addresses_from_client_are_dropped", []string{"127.0.0.1"}, []string{"X-Forwarded-For", "6.6.6.6, 1.1.1.1"}, "1.1.1.1", "1.1.1.1, 127.0.0.1", "https"},
		{"two_trusted_proxies", []string{"127.0.0.1", "10.0.0.0/8"}, []string{"X-Forwarded-For", "6.6.6.6, 1.1.1.1", "X-Forwarded-For", "10.1.1.1"}, "1.1.1.1", "1.1.1.1, 10.1.1.1, 127.0.0.1", "https"},
		{"IPv4_mapped_IPv6", []string{"127.0.0.1", "10.0.0.0/8"}, []string{"X-Forwarded-For", "2.2.2.2, ::ffff:10.1.1.1"}, "2.2.2.2", "2.2.2.2, 10.1.1.1, 127.0.0.1", "https"},
		{"invalid_address", []string{"127.0.0.1"}, []string{"X-Forwarded-For", "1.1.1.1, unknown"}, "127.0.0.1", "127.0.0.1", "https"},
		{"port_behind_IPv4", []string{"127.0.0.1", "10.0.0.0/8"}, []string{"X-Forwarded-For", "2.2.2.2, 1.1.1.1:50001, 10.1.1.1:443"}, "1.1.1.1", "1.1.1.1, 10.1.1.1, 127.0.0.1", "https"},
		{"port_behind_IPv6", []string{"127.0.0.1"}, []string{"X-Forwarded-For", "[2001:db8::1]:50001"}, "2001:db8::1", "2001:db8::1, 127.0.0.1", "https"},
		{"port_behind_mapped_IPv6", []string{"127.0.0.1"}, []string{"X-Forwarded-For", "[::ffff:1.1.1.1]:50001"}, "1.1.1.1", "1.1.1.1, 127.0.0.1", "https"},
		{"no_headers", []string{"127.0.0.1"}, nil, "127.0.0.1", "127.0.0.1", "https"},
		{"two_schemes", []string{"127.0.0.1"}, []string{"X-Forwarded-Proto", "http", "X-Forwarded-Proto", "https"}, "127.0.0.1", "127.0.0.1", "https"},
		{"invalid_scheme", []string{"127.0.0.1"}, []string{"X-Forwarded-Proto", "javascript"}, "127.0.0.1", "127.0.0.1", "https"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(s *Settings) { s.TrustedProxies = c.trusted })
			_, seen := w.get(w.client(false), "https://"+openHost+"/", c.headers...)
			for name, want := range map[string]string{"X-Forwarded-For": c.chain, "X-Forwarded-Proto": c.proto, "X-Forwarded-Host": openHost} {
				if !strings.Contains(seen, name+": "+want+"\r\n") {
					t.Errorf("%s is not %q:\n%s", name, want, seen)
				}
			}
			if line := w.events("decision"); len(line) != 1 || !strings.Contains(line[0], `"address":"`+c.address+`"`) {
				t.Errorf("recorded %s", line)
			}
		})
	}
}

// TestForwardedFor_UnreadablePeerIsNotTrusted checks that a peer whose address cannot be read, and a hop that is no
// address of a host, are never trusted.
func TestForwardedFor_UnreadablePeerIsNotTrusted(t *testing.T) {
	rt := &routing{trustedProxies: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("::/8"), netip.MustParsePrefix("10.0.0.0/8")}}
	for peer, want := range map[string]string{"@": "0.0.0.0", "": "0.0.0.0", "0.0.0.0:1": "0.0.0.0", "[::]:1": "::", "[::ffff:0.0.0.0]:1": "0.0.0.0",
		"10.0.0.1:1": "1.1.1.1"} {
		r := httptest.NewRequest("GET", "https://app.example.com/", nil)
		r.RemoteAddr = peer
		r.Header.Set("X-Forwarded-For", "1.1.1.1")
		req := &request{routing: rt}
		if req.setOrigin(r); req.address != want {
			t.Errorf("%q: the client has the address %s", peer, req.address)
		}
	}
}
