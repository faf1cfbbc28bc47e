package header

import (
	"net/http"
	"slices"
	"strings"
)

// identityNames are names of headers by which proxies tell who is calling. In a response they would reach a proxy in
// front of this one, which may copy them into a request.
var identityNames = []string{"X-Auth-User", "X-Auth-Username", "X-Auth-Name", "X-Auth-Email", "X-Auth-Groups", "X-Auth-Roles", "X-Remote-User",
	"X-Remote-Email", "X-Remote-Name", "X-Remote-Groups", "Remote-User", "Remote-Email", "Remote-Name", "Remote-Groups", "X-Webauth-User",
	"X-Webauth-Email", "X-Webauth-Name", "X-Webauth-Groups", "X-Authenticated-User", "X-User", "X-User-Email"}

// strippedPrefixes begin the CGI names of further ones.
var strippedPrefixes = []string{SetByUsPrefix, "X_AUTH_REQUEST_", "X_AUTHENTIK_", "X_SALLYPORT_"}

// ResponseNames are the names of response headers that no upstream may send to clients.
type ResponseNames struct {
	byCGI map[string]bool
	sieve *sieve // of byCGI, strippedPrefixes and HopByHop
}

// Stripped returns the names of the headers that name an identity, those of the settings among them, and Clear-Site-Data,
// with which one application could delete what the browser keeps for the whole host, the session cookie included.
func Stripped(identity ...string) ResponseNames {
	names := ResponseNames{map[string]bool{CGI("Clear-Site-Data"): true}, new(sieve)}
	for _, name := range slices.Concat(identityNames, identity) {
		if name != "" {
			names.byCGI[CGI(name)] = true
		}
	}
	for name := range names.byCGI {
		names.sieve.add(name)
	}
	for _, name := range HopByHop {
		names.sieve.add(CGI(name))
	}
	for _, prefix := range strippedPrefixes {
		names.sieve.addPrefix(prefix)
	}
	return names
}

// Strip removes the headers that no upstream may send to clients, those that concern one connection, and those that its
// Connection header names. It serves informational responses too.
func (n ResponseNames) Strip(h http.Header) {
	for _, name := range connectionOptions(h["Connection"]) {
		delete(h, name)
	}
	for name := range h {
		if n.sieve.mayHave(name) && (n.has(name) || slices.Contains(HopByHop, name)) {
			delete(h, name)
		}
	}
	StripSetCookies(h)
}

// StripIdentities is Strip without the headers that concern the connection: for a response that switches protocols, and for
// a trailer, whose Connection field names nothing.
func (n ResponseNames) StripIdentities(h http.Header) {
	for name := range h {
		if n.sieve.mayHave(name) && n.has(name) {
			delete(h, name)
		}
	}
	StripSetCookies(h)
}

func (n ResponseNames) has(key string) bool {
	var buf [MaxNameBytes]byte
	name := AppendCGI(buf[:0], key)
	return n.byCGI[string(name)] || slices.ContainsFunc(strippedPrefixes, func(prefix string) bool { return strings.HasPrefix(string(name), prefix) })
}
