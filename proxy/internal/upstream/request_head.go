package upstream

import (
	"bufio"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

var errInvalidRequest = errors.New("the request has a part that cannot be written in one line")

// headWriter writes the request lines and the headers of requests (RFC 9112 §3).
type headWriter struct {
	out     *bufio.Writer
	field   func(name, value string) // writes one field
	invalid bool                     // a field of the request under way cannot be written
}

func newHeadWriter(out *bufio.Writer) *headWriter {
	w := &headWriter{out: out}
	w.field = w.writeField
	return w
}

// write writes the head of a request. The server has validated all parts already; write rejects any that would still end
// its line early.
func (w *headWriter) write(r *Request) error {
	if hasDelimiter(r.Path) || hasDelimiter(r.Query) || hasDelimiter(r.host) || hasDelimiter(r.Method) {
		return errInvalidRequest
	}
	writeLine(w.out, r.Method, " ", r.Path, r.Query, " HTTP/1.1\r\nHost: ", r.host)
	switch {
	case r.hasBody() && r.ContentLength < 0:
		writeLine(w.out, "Transfer-Encoding: chunked")
	case r.hasBody(), r.Method == http.MethodPost, r.Method == http.MethodPut, r.Method == http.MethodPatch:
		writeLine(w.out, "Content-Length: ", strconv.FormatInt(r.ContentLength, 10))
	}
	w.invalid = false
	if r.eachField(w.field); w.invalid {
		return errInvalidRequest
	}
	writeLine(w.out)
	return nil
}

func (w *headWriter) writeField(name, value string) {
	switch {
	case strings.IndexByte(value, '\r') >= 0 || strings.IndexByte(value, '\n') >= 0 || strings.IndexByte(value, 0) >= 0 || hasDelimiter(name):
		w.invalid = true
	case name == "User-Agent" && value == "", isWrittenElsewhere(name):
	default:
		writeLine(w.out, name, ": ", value)
	}
}

// writeLine returns no error: the errors of a bufio.Writer are sticky, and Flush reports them.
func writeLine(w *bufio.Writer, parts ...string) {
	for _, part := range parts {
		_, _ = w.WriteString(part)
	}
	_, _ = w.WriteString("\r\n")
}

// isWrittenElsewhere reports whether a header only repeats a field of [Request], which is what counts.
func isWrittenElsewhere(name string) bool {
	return name == "Host" || name == "Content-Length" || name == "Transfer-Encoding" || name == "Trailer"
}

// hasDelimiter reports whether a word of a header has a byte that ends it, or could be taken for such an end.
func hasDelimiter(word string) bool {
	for i := range len(word) {
		if word[i] <= ' ' || word[i] == 0x7f {
			return true
		}
	}
	return false
}
