package header

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// HopByHop are the headers that concern one connection and are not forwarded (RFC 9110 §7.6.1).
var HopByHop = []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade"}

// notInTrailer are fields, beside HopByHop, that a recipient could take for those of the header if they stood in a
// trailer: they frame, route, authenticate or cache a message, say what its content is, or bind the browser (RFC 9110
// §6.5.1). A name that ends in "-" stands for all that begin with it.
var notInTrailer = newSet("Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Content-Disposition",
	"Content-Language", "Content-Location", "Content-Security-", "If-", "Access-Control-", "Cross-Origin-", "Host", "Set-Cookie", "Cookie", "Authorization", "Www-Authenticate",
	"Authentication-Info", "Proxy-Authentication-Info", "Location", "Refresh", "Retry-After", "Range", "Max-Forwards", "Expect", "Cache-Control",
	"Pragma", "Expires", "Age", "Date", "Vary", "Warning", "Strict-Transport-Security", "Referrer-Policy", "X-Frame-Options", "X-Content-Type-Options")

// CleanTrailer removes from a trailer the fields that must not stand in one.
func CleanTrailer(h http.Header) {
	for name := range h {
		if notInTrailer.Has(CGI(name)) || slices.Contains(HopByHop, name) {
			delete(h, name)
		}
	}
}

// connectionOptions returns the headers that a Connection header names (RFC 9110 §7.6.1).
func connectionOptions(connection []string) (names []string) {
	for _, line := range connection {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name != "" && !strings.EqualFold(name, "keep-alive") && !strings.EqualFold(name, "close") {
				names = append(names, textproto.CanonicalMIMEHeaderKey(name))
			}
		}
	}
	return names
}
