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
	field   func(name, value string) // appends one field
	head    []byte                   // of the request under way
	invalid bool                     // one of its fields cannot be written
}

func newHeadWriter(out *bufio.Writer) *headWriter {
	w := &headWriter{out: out}
	w.field = w.appendField
	return w
}

// write writes the head of a request. The server has validated all parts already; write rejects any that would still end
// its line early.
func (w *headWriter) write(r *Request) error {
	if hasDelimiter(r.Path) || hasDelimiter(r.Query) || hasDelimiter(r.host) || hasDelimiter(r.Method) {
		return errInvalidRequest
	}
	w.head, w.invalid = w.out.AvailableBuffer(), false
	w.appendLine(r.Method, " ", r.Path, r.Query, " HTTP/1.1\r\nHost: ", r.host)
	switch {
	case r.hasBody() && r.ContentLength < 0:
		w.appendLine("Transfer-Encoding: chunked")
	case r.hasBody(), r.Method == http.MethodPost, r.Method == http.MethodPut, r.Method == http.MethodPatch:
		w.appendLine("Content-Length: ", strconv.FormatInt(r.ContentLength, 10))
	}
	if r.eachField(w.field); w.invalid {
		return errInvalidRequest
	}
	w.appendLine()
	_, err := w.out.Write(w.head)
	w.head = nil // it is large if the header is
	return err
}

func (w *headWriter) appendField(name, value string) {
	switch {
	case strings.IndexByte(value, '\r') >= 0 || strings.IndexByte(value, '\n') >= 0 || strings.IndexByte(value, 0) >= 0 || hasDelimiter(name):
		w.invalid = true
	case name == "User-Agent" && value == "", isWrittenElsewhere(name):
	default:
		w.appendLine(name, ": ", value)
	}
}

func (w *headWriter) appendLine(parts ...string) {
	for _, part := range parts {
		w.head = append(w.head, part...)
	}
	w.head = append(w.head, "\r\n"...)
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
