package proxy

import (
	"bufio"
	"errors"
	"net/http"
	"strings"
)

var errOddHead = errors.New("the request cannot be written in lines")

// writeHead writes a request that has no body (RFC 9112 §3). net/http has looked at every part of it before; one that
// could still end its line early is refused.
func writeHead(to *bufio.Writer, r *http.Request) error {
	target := r.URL.RequestURI()
	if strings.ContainsFunc(target, splits) || strings.ContainsFunc(r.Host, splits) || strings.ContainsFunc(r.Method, splits) {
		return errOddHead
	}
	writeLine(to, r.Method, " ", target, " HTTP/1.1\r\nHost: ", r.Host)
	for name, values := range r.Header {
		for _, value := range values {
			if strings.ContainsAny(value, "\r\n\x00") || strings.ContainsFunc(name, splits) {
				return errOddHead
			}
			if name == "User-Agent" && value == "" || saysElsewhere(name) {
				continue
			}
			writeLine(to, name, ": ", value)
		}
	}
	writeLine(to)
	return nil
}

// writeLine cannot fail: what cannot be written is told when the whole is flushed.
func writeLine(to *bufio.Writer, parts ...string) {
	for _, part := range parts {
		_, _ = to.WriteString(part)
	}
	_, _ = to.WriteString("\r\n")
}

// saysElsewhere says whether a header repeats what the request says of itself.
func saysElsewhere(name string) bool {
	return name == "Host" || name == "Content-Length" || name == "Transfer-Encoding" || name == "Trailer"
}

// splits says whether c ends a word of a head, or could be taken for an end.
func splits(c rune) bool { return c <= ' ' || c == 0x7f }
