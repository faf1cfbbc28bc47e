package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
)

// errInvalidHead means that the header of a response could be read in more than one way.
var errInvalidHead = errors.New("the header of the upstream's response is not valid")

// peekHead looks at the header of a response before it is read. It returns an error if the header must not be passed on.
// reusable reports whether the connection may be used again after the response. A header that two parsers could read
// differently, or that is very long, makes its response the last on the connection: the bytes after it may not be the
// response that they seem to be.
func (c *conn) peekHead(r *Request) (reusable bool, err error) {
	reusable = true
	for scanned := 0; ; scanned = c.in.Buffered() {
		if scanned == c.in.Size() {
			c.in, reusable = bufio.NewReaderSize(c.in, 4*c.in.Size()), false
		}
		if _, err := c.in.Peek(scanned + 1); err != nil {
			return false, err
		}
		c.responded = true
		seen, _ := c.in.Peek(c.in.Buffered())
		if n := min(len(seen), len("HTTP/1.")); string(seen[:n]) != "HTTP/1."[:n] {
			return false, errInvalidHead
		}
		if end := headEnd(seen, max(0, scanned-len("\n\r"))); end >= 0 {
			unambiguous, err := checkHead(r, seen[:end])
			return reusable && unambiguous, err
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
// version other than HTTP/1.0 and HTTP/1.1 (RFC 9112 §2.2, §5.1, RFC 9110 §5.5). unambiguous reports whether it is
// HTTP/1.1, all its lines end in CRLF, none is folded, at most one says how long the body is, and none announces a body
// that the response does not have (RFC 9112 §5.2, §6.3): some servers send it all the same.
func checkHead(r *Request, head []byte) (unambiguous bool, err error) {
	status, fields, _ := bytes.Cut(head, []byte("\n"))
	status, unambiguous = bytes.CutSuffix(status, []byte("\r"))
	code, modern := bytes.CutPrefix(status, []byte("HTTP/1.1 "))
	if !modern {
		code, _ = bytes.CutPrefix(status, []byte("HTTP/1.0 "))
	}
	if len(code) == len(status) || len(code) == 0 || code[0] < '1' || code[0] > '9' || hasControl(code) {
		return false, errInvalidHead
	}
	lengths, chunked, long := 0, false, false // what the fields say about the body
	for len(fields) > 0 {
		var line []byte
		line, fields, _ = bytes.Cut(fields, []byte("\n"))
		line, crlf := bytes.CutSuffix(line, []byte("\r"))
		folded := len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
		name, value, _ := bytes.Cut(line, []byte(":"))
		encoding, length := bytes.EqualFold(name, []byte("Transfer-Encoding")), bytes.EqualFold(name, []byte("Content-Length"))
		switch {
		case hasControl(line), !folded && !isToken(name), encoding && !modern, length && !isNumber(value):
			return false, errInvalidHead
		case encoding:
			lengths, chunked = lengths+1, true
		case length:
			lengths, long = lengths+1, long || string(bytes.TrimSpace(value)) != "0"
		}
		unambiguous = unambiguous && crlf && !folded
	}
	switch {
	case r.Method == http.MethodHead, bytes.HasPrefix(code, []byte("1")), bytes.HasPrefix(code, []byte("204")):
		unambiguous = unambiguous && !chunked && !long
	case bytes.HasPrefix(code, []byte("304")):
		unambiguous = unambiguous && !chunked
	}
	return unambiguous && modern && lengths <= 1, nil
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
