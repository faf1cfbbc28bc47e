package proxy

import (
	"net/http"
	"slices"
	"strings"

	"sallyport/proxy/internal/header"
)

// identityNames are names of headers by which proxies tell who is calling. In a response they would reach a proxy in
// front of this one, which may copy them into a request.
var identityNames = []string{"X-Auth-User", "X-Auth-Username", "X-Auth-Name", "X-Auth-Email", "X-Auth-Groups", "X-Auth-Roles", "X-Remote-User",
	"X-Remote-Email", "X-Remote-Name", "X-Remote-Groups", "Remote-User", "Remote-Email", "Remote-Name", "Remote-Groups", "X-Webauth-User",
	"X-Webauth-Email", "X-Webauth-Name", "X-Webauth-Groups", "X-Authenticated-User", "X-User", "X-User-Email"}

// strippedPrefixes begin the CGI names of further ones.
var strippedPrefixes = []string{header.SetByUsPrefix, "X_AUTH_REQUEST_", "X_AUTHENTIK_", "X_SALLYPORT_"}

// strippedNames returns the CGI names of response headers that no upstream may send to clients: those that name an
// identity, and Clear-Site-Data, with which one application could delete what the browser keeps for the whole host, the
// session cookie included.
func strippedNames(identity IdentityHeaders) map[string]bool {
	names := map[string]bool{header.CGI("Clear-Site-Data"): true}
	for _, name := range identityNames {
		names[header.CGI(name)] = true
	}
	for _, headers := range []IdentityHeaders{Defaults().IdentityHeaders, identity} {
		for _, name := range headers.all() {
			if name != "" {
				names[header.CGI(name)] = true
			}
		}
	}
	return names
}

// stripResponse removes the headers that no upstream may send to clients. It serves trailers and informational responses
// too.
func (rt *routing) stripResponse(h http.Header) {
	for name := range h {
		if rt.strips(name) {
			delete(h, name)
		}
	}
	header.StripSetCookies(h)
}

func (rt *routing) strips(key string) bool {
	var buf [header.MaxNameBytes]byte
	name := header.AppendCGI(buf[:0], key)
	return rt.strippedNames[string(name)] || slices.ContainsFunc(strippedPrefixes, func(prefix string) bool { return strings.HasPrefix(string(name), prefix) })
}
