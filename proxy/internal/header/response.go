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

// ResponseNames are the CGI names of response headers that no upstream may send to clients.
type ResponseNames map[string]bool

// Stripped returns the names of the headers that name an identity, those of the settings among them, and Clear-Site-Data,
// with which one application could delete what the browser keeps for the whole host, the session cookie included.
func Stripped(identity ...string) ResponseNames {
	names := ResponseNames{CGI("Clear-Site-Data"): true}
	for _, name := range slices.Concat(identityNames, identity) {
		if name != "" {
			names[CGI(name)] = true
		}
	}
	return names
}

// Strip removes the headers that no upstream may send to clients. It serves trailers and informational responses too.
func (n ResponseNames) Strip(h http.Header) {
	for name := range h {
		if n.has(name) {
			delete(h, name)
		}
	}
	StripSetCookies(h)
}

func (n ResponseNames) has(key string) bool {
	var buf [MaxNameBytes]byte
	name := AppendCGI(buf[:0], key)
	return n[string(name)] || slices.ContainsFunc(strippedPrefixes, func(prefix string) bool { return strings.HasPrefix(string(name), prefix) })
}
