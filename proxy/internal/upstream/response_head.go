package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// errInvalidHead means that the header of a response could be read in more than one way.
var errInvalidHead = errors.New("the header of the upstream's response is not valid")

// head is the header of a response that was looked at, and what was seen.
type head struct {
	text   []byte // without the empty line at its end; valid until the next read
	fields int    // its lines, without that of the status
	values int    // bytes of their values, at most

	// unambiguous means that the header can be read in one way only. A header that two parsers could read differently, or
	// that is very long, makes its response the last on the connection: the bytes after it may not be the response that
	// they seem to be.
	unambiguous bool

	// plain means that the header is unambiguous, and the one thing that it says of messages and connections is that the
	// body has the given length. The response is final, and its status is one that has a body.
	plain  bool
	status int
	length int64
}

// peekHead looks at the header of a response before it is read. It returns an error if the header must not be passed on.
func (c *conn) peekHead(r *Request) (head, error) {
	long := false
	for scanned := 0; ; scanned = c.in.Buffered() {
		if scanned == c.in.Size() {
			c.in, long = bufio.NewReaderSize(c.in, 4*c.in.Size()), true
		}
		if _, err := c.in.Peek(scanned + 1); err != nil {
			return head{}, err
		}
		c.responded = true
		seen, _ := c.in.Peek(c.in.Buffered())
		if n := min(len(seen), len("HTTP/1.")); string(seen[:n]) != "HTTP/1."[:n] {
			return head{}, errInvalidHead
		}
		if end := headEnd(seen, max(0, scanned-len("\n\r"))); end >= 0 {
			h, err := checkHead(r, seen[:end])
			h.unambiguous, h.plain = h.unambiguous && !long, h.plain && !long && seen[end] == '\r' // the empty line ends in CRLF too
			return h, err
		}
	}
}

// headEnd returns the offset of the empty line that ends a header, whatever its line ends are; -1 if there is none from
// offset on.
func headEnd(seen []byte, offset int) int {
	for {
		lf := bytes.IndexByte(seen[offset:], '\n')
		if lf < 0 {
			return -1
		}
		offset += lf + 1
		if rest := seen[offset:]; bytes.HasPrefix(rest, []byte("\n")) || bytes.HasPrefix(rest, []byte("\r\n")) {
			return offset
		}
	}
}

// checkHead rejects a header with NUL, a CR inside a line, a field without a valid name, an invalid status or length, or a
// version other than HTTP/1.0 and HTTP/1.1 (RFC 9112 §2.2, §5.1, RFC 9110 §5.5). It is unambiguous if it is HTTP/1.1, all
// its lines end in CRLF, none is folded, at most one says how long the body is, and none announces a body that the
// response does not have (RFC 9112 §5.2, §6.3): some servers send it all the same.
func checkHead(r *Request, text []byte) (h head, err error) {
	status, fields, _ := bytes.Cut(text, []byte("\n"))
	status, unambiguous := bytes.CutSuffix(status, []byte("\r"))
	code, modern := bytes.CutPrefix(status, []byte("HTTP/1.1 "))
	if !modern {
		code, _ = bytes.CutPrefix(status, []byte("HTTP/1.0 "))
	}
	if len(code) == len(status) || len(code) == 0 || code[0] < '1' || code[0] > '9' || hasControl(code) {
		return head{}, errInvalidHead
	}
	h.text, h.length = text, -1
	lengths, chunked, long, special := 0, false, false, false // what the fields say about the body and the connection
	for len(fields) > 0 {
		var line []byte
		line, fields, _ = bytes.Cut(fields, []byte("\n"))
		line, crlf := bytes.CutSuffix(line, []byte("\r"))
		folded := len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
		name, value, colon := bytes.Cut(line, []byte(":"))
		kind := fieldKind(name)
		switch {
		case hasControl(line), !folded && !isToken(name), kind == fieldEncoding && !modern, kind == fieldLength && !isNumber(value):
			return head{}, errInvalidHead
		case kind == fieldEncoding:
			lengths, chunked = lengths+1, true
		case kind == fieldLength:
			value = bytes.TrimSpace(value)
			lengths, long, h.length = lengths+1, long || string(value) != "0", parseLength(value)
		case kind == fieldSpecial, !colon:
			special = true
		}
		h.fields, h.values, unambiguous = h.fields+1, h.values+len(value), unambiguous && crlf && !folded
	}
	bodiless := r.Method == http.MethodHead || code[0] == '1' || bytes.HasPrefix(code, []byte("204"))
	notModified := bytes.HasPrefix(code, []byte("304"))
	switch {
	case bodiless:
		unambiguous = unambiguous && !chunked && !long
	case notModified:
		unambiguous = unambiguous && !chunked
	}
	h.unambiguous, h.status = unambiguous && modern && lengths <= 1, parseStatus(code)
	h.plain = h.unambiguous && h.status > 0 && h.length >= 0 && !special && !bodiless && !notModified
	return h, nil
}

// readPlain reads a plain header into the header of r, as http.ReadResponse does any header. It returns nil, and reads
// nothing, if http.ReadResponse must do so, since the header is not plain or has a value that is not valid.
func (c *conn) readPlain(r *Request, h head) *http.Response {
	if !h.plain || hasInvalidValue(h.text) {
		return nil
	}
	line, fields := cutPlainLine(h.text)
	r.plain = plainResponse{}
	res := &r.plain
	res.Proto, res.Status = "HTTP/1.1", c.names.statusText(line[len("HTTP/1.1 "):])
	res.ProtoMajor, res.ProtoMinor, res.StatusCode, res.ContentLength = 1, 1, h.status, h.length
	if res.Header = r.ResponseHeader; res.Header == nil {
		res.Header = make(http.Header, h.fields)
	}
	var text strings.Builder // of all values, which is never moved
	text.Grow(h.values)
	values := make([]string, h.fields)
	for i := range values {
		line, fields = cutPlainLine(fields)
		colon := bytes.IndexByte(line, ':')
		name, value := line[:colon], line[colon+1:]
		begin := text.Len()
		_, _ = text.Write(bytes.Trim(value, " \t"))
		values[i] = text.String()[begin:]
		key := c.names.canonical(i, name)
		if others, ok := res.Header[key]; ok {
			res.Header[key] = append(others, values[i])
		} else {
			res.Header[key] = values[i : i+1 : i+1]
		}
	}
	_, _ = c.in.Discard(len(h.text) + len("\r\n")) // cannot fail: peekHead saw them
	if res.Body = http.NoBody; h.length > 0 {
		res.body.left, res.Body = h.length, &res.body
	}
	return &res.Response
}

// cutPlainLine returns the first line of a plain header, and the rest.
func cutPlainLine(text []byte) (line, rest []byte) {
	lf := bytes.IndexByte(text, '\n')
	return text[:lf-len("\r")], text[lf+1:]
}

// plainResponse is a response with its body.
type plainResponse struct {
	http.Response
	body responseBody
}

// The kinds of fields that say how messages and connections end.
const (
	fieldOther    = iota
	fieldEncoding // Transfer-Encoding
	fieldLength   // Content-Length
	fieldSpecial  // one that http.ReadResponse looks at besides
)

// fieldKind returns the kind of the field with a name.
func fieldKind(name []byte) int {
	switch len(name) {
	case len("Transfer-Encoding"):
		if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
			return fieldEncoding
		}
	case len("Content-Length"):
		if bytes.EqualFold(name, []byte("Content-Length")) {
			return fieldLength
		}
	case len("Connection"):
		if bytes.EqualFold(name, []byte("Connection")) {
			return fieldSpecial
		}
	case len("Pragma"):
		if bytes.EqualFold(name, []byte("Pragma")) {
			return fieldSpecial
		}
	}
	return fieldOther
}

// parseStatus returns the status that begins a status line without its version; 0 if that is not one.
func parseStatus(code []byte) (status int) {
	if len(code) < 3 || len(code) > 3 && code[3] != ' ' {
		return 0
	}
	for _, c := range code[:3] {
		if c < '0' || c > '9' {
			return 0
		}
		status = 10*status + int(c-'0')
	}
	return status
}

// parseLength returns the number in the value of a Content-Length; -1 if it is too large to count with.
func parseLength(value []byte) int64 {
	n, err := strconv.ParseUint(string(value), 10, 63)
	if err != nil {
		return -1
	}
	return int64(n)
}

// invalidBytes says which bytes no value of a field may have (RFC 9110 §5.5), beside those that end lines.
var invalidBytes = func() (table [256]bool) {
	for c := range table[:' '] {
		table[c] = c != '\t' && c != '\r' && c != '\n'
	}
	table[0x7f] = true
	return table
}()

// hasInvalidValue reports whether a header has bytes that no value may have.
func hasInvalidValue(text []byte) bool {
	for _, c := range text {
		if invalidBytes[c] {
			return true
		}
	}
	return false
}

// hasControl reports whether a line has bytes at which some readers end it.
func hasControl(line []byte) bool {
	return bytes.IndexByte(line, 0) >= 0 || bytes.IndexByte(line, '\r') >= 0
}

// isNumber reports whether a Content-Length is one number (RFC 9110 §8.6).
func isNumber(value []byte) bool {
	value = bytes.Trim(value, " \t")
	for _, c := range value {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(value) > 0
}

// tokenBytes says which bytes the name of a field may have (RFC 9110 §5.6.2).
var tokenBytes = func() (table [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
		table[c] = true
	}
	return table
}()

// isToken reports whether name may be the name of a field.
func isToken(name []byte) bool {
	for _, c := range name {
		if !tokenBytes[c] {
			return false
		}
	}
	return len(name) > 0
}
