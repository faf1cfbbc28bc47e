package upstream

import "bytes"

const versionPrefix = "HTTP/1.1 "

// peekHead looks at the header of a response before it is read, and reports whether the connection may be used again
// after the response. A header that two parsers could read differently, or that does not fit the buffer, makes its
// response the last on the connection: the bytes after it may not be the response that they seem to be.
func (c *conn) peekHead() (reusable bool) {
	for want := 1; want <= connBuffer; want = c.in.Buffered() + 1 {
		if _, err := c.in.Peek(want); err != nil {
			return false
		}
		c.responded = true
		seen, _ := c.in.Peek(c.in.Buffered())
		if end := headEnd(seen); end >= 0 {
			return isUnambiguous(seen[:end])
		}
		if n := min(len(seen), len(versionPrefix)); string(seen[:n]) != versionPrefix[:n] {
			return false
		}
	}
	return false
}

// headEnd returns the offset of the empty line that ends a header, whatever its line ends are; -1 if there is none yet.
func headEnd(seen []byte) int {
	for offset := 0; ; {
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

// isUnambiguous reports whether a header is HTTP/1.1, all its lines end in CRLF, none is folded, and at most one says
// how long the body is (RFC 9112 §2.2, §5.2, §6.3).
func isUnambiguous(head []byte) bool {
	if !bytes.HasPrefix(head, []byte(versionPrefix)) {
		return false
	}
	lengths := 0
	for len(head) > 0 {
		lf := bytes.IndexByte(head, '\n')
		if lf < 1 || bytes.IndexByte(head[:lf], '\r') != lf-1 || head[0] == ' ' || head[0] == '\t' || bytes.IndexByte(head[:lf], 0) >= 0 {
			return false
		}
		name, _, _ := bytes.Cut(head[:lf], []byte(":"))
		if isFraming(name) {
			lengths++
		}
		head = head[lf+1:]
	}
	return lengths <= 1
}

// isFraming reports whether the header of that name says how long the body is.
func isFraming(name []byte) bool {
	name = bytes.TrimRight(name, " \t")
	return len(name) == len("Content-Length") && bytes.EqualFold(name, []byte("Content-Length")) ||
		len(name) == len("Transfer-Encoding") && bytes.EqualFold(name, []byte("Transfer-Encoding"))
}
