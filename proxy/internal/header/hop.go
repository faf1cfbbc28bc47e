package header

import (
	"net/http"
	"net/textproto"
	"strings"
)

// HopByHop are the headers that concern one connection and are not forwarded (RFC 9110 §7.6.1).
var HopByHop = []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade"}

// RemoveHopByHop removes the headers that concern one connection, and those that its Connection header names.
func RemoveHopByHop(h http.Header) {
	for _, name := range connectionOptions(h["Connection"]) {
		delete(h, name)
	}
	for _, name := range HopByHop {
		delete(h, name)
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
