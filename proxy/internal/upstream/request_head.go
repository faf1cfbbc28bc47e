package upstream

import (
	"bufio"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

var errInvalidRequest = errors.New("the request has a part that cannot be written in one line")

// writeRequestHead writes the request line and the header of a request (RFC 9112 §3). The server has validated all parts
// already; writeRequestHead rejects any that would still end its line early.
func writeRequestHead(w *bufio.Writer, r *http.Request) error {
	target := r.URL.RequestURI()
	if strings.ContainsFunc(target, isDelimiter) || strings.ContainsFunc(r.Host, isDelimiter) || strings.ContainsFunc(r.Method, isDelimiter) {
		return errInvalidRequest
	}
	writeLine(w, r.Method, " ", target, " HTTP/1.1\r\nHost: ", r.Host)
	switch {
	case hasBody(r) && r.ContentLength < 0:
		writeLine(w, "Transfer-Encoding: chunked")
	case hasBody(r), r.Method == http.MethodPost, r.Method == http.MethodPut, r.Method == http.MethodPatch:
		writeLine(w, "Content-Length: ", strconv.FormatInt(r.ContentLength, 10))
	}
	for name, values := range r.Header {
		for _, value := range values {
			if strings.ContainsAny(value, "\r\n\x00") || strings.ContainsFunc(name, isDelimiter) {
				return errInvalidRequest
			}
			if name == "User-Agent" && value == "" || isWrittenElsewhere(name) {
				continue
			}
			writeLine(w, name, ": ", value)
		}
	}
	writeLine(w)
	return nil
}

// writeLine returns no error: the errors of a bufio.Writer are sticky, and Flush reports them.
func writeLine(w *bufio.Writer, parts ...string) {
	for _, part := range parts {
		_, _ = w.WriteString(part)
	}
	_, _ = w.WriteString("\r\n")
}

// isWrittenElsewhere reports whether a header only repeats a field of http.Request, which is what counts.
func isWrittenElsewhere(name string) bool {
	return name == "Host" || name == "Content-Length" || name == "Transfer-Encoding" || name == "Trailer"
}

// isDelimiter reports whether c ends a word of a header, or could be taken for such an end.
func isDelimiter(c rune) bool { return c <= ' ' || c == 0x7f }
