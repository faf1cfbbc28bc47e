package header

import (
	"slices"
	"strings"
)

// Secret is the header with which a front proxy authenticates.
const Secret = "X-Sallyport-Secret"

// overrideHeaders make a framework, a server or another proxy see another request than the one in the request line: the
// one that was decided. No spelling of them is forwarded, and no check may have one, because a front proxy would forward
// it. A name that ends in "-" stands for all that begin with it.
var overrideHeaders = []string{
	// the method
	"X-Method", "X-Method-Override", "X-Original-Method", "X-Request-Method",
	// method, host or path, by the name of the CGI variable: X-Http-Method, X-Http-Host-Override, X-Http-Path-Override
	"X-Http-",
	// the path, perhaps with host and query
	"X-Original-Url", "X-Original-Uri", "X-Original-Path", "X-Original-Query", "X-Original-Request-Uri", "X-Ms-Original-Url",
	"X-Rewrite-", "X-Override-", "X-Envoy-Original-", "X-Request-Url", "X-Request-Uri", "X-Request-Path", "X-Path-Info",
	"X-Path-Override", "X-Url-Override", "X-Uri-Override", "X-Waws-Unencoded-Url", "Request-Uri", "Path-Info",
}

// mountHeaders tell an application under which host, scheme and leading path it is reached. They are treated like
// overrideHeaders, except that request_headers may set them: where an application is mounted, the operator knows.
var mountHeaders = []string{
	"X-Host", "X-Host-Override", "X-Original-Host", "X-Forward-Host", "X-Real-Host", "X-Proxy-Host", "X-Proxyhost", "X-Backend-Host", "X-Server-Name",
	"X-Url-Scheme", "X-Scheme", "X-Original-Scheme", "X-Original-Proto", "X-Forward-Proto", "X-Proto", "X-Proxyscheme", "X-Proxy-Scheme", "X-Https",
	"Front-End-Https", "X-Url-Port", "X-Proxyport", "X-Proxy-Port", "X-Original-Port", "X-Server-Port",
	"X-Script-Name", "Script-Name", "X-Script-Url", "X-Context-Path", "X-Proxycontextpath", "X-Proxy-Context-Path", "X-Ingress-Path", "X-Base-Path",
	"X-Path-Prefix", "X-Url-Prefix", "X-Original-Prefix",
}

// clientHeaders tell an upstream where a request came from, as X-Forwarded-For does, or steer an Envoy. A front proxy may
// set them in a check, but no client's value is forwarded.
var clientHeaders = []string{
	"Forwarded", "X-Real-Ip", "X-Forwarded", "X-Forward-For", "Forwarded-For", "X-Original-Forwarded-For", "X-Original-For", "X-Client-Ip", "Client-Ip",
	"True-Client-Ip", "X-Cluster-Client-Ip", "X-Remote-Ip", "X-Remote-Addr", "X-Originating-Ip", "X-Proxyuser-Ip", "Proxy-Client-Ip", "Wl-Proxy-Client-Ip",
	"Cf-Connecting-Ip", "Cf-Connecting-Ipv6", "Cf-Pseudo-Ipv4", "Fastly-Client-Ip", "X-Azure-Clientip", "X-Azure-Socketip", "X-Appengine-User-Ip",
	"X-Envoy-",
}

// Set holds names of headers, by CGI name.
type Set struct {
	names    map[string]bool
	prefixes []string
}

func newSet(names ...string) Set {
	s := Set{names: map[string]bool{}}
	for _, name := range names {
		if key := CGI(name); strings.HasSuffix(name, "-") {
			s.prefixes = append(s.prefixes, key)
		} else {
			s.names[key] = true
		}
	}
	return s
}

// Has reports whether the header of that CGI name is in the set.
func (s Set) Has(cgi string) bool {
	return s.names[cgi] || s.HasPrefix([]byte(cgi))
}

// HasPrefix reports whether the set has the header because of how its CGI name begins.
func (s Set) HasPrefix(cgi []byte) bool {
	for _, prefix := range s.prefixes {
		if len(cgi) >= len(prefix) && string(cgi[:len(prefix)]) == prefix {
			return true
		}
	}
	return false
}

var (
	Overrides = newSet(slices.Concat(overrideHeaders, mountHeaders)...) // what no check may have
	Mounts    = newSet(mountHeaders...)                                 // what request_headers may set all the same
	SetByUs   = newSet(slices.Concat(overrideHeaders, mountHeaders, clientHeaders, []string{"X-Forwarded-", "Proxy", Secret})...)
)
