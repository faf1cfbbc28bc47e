package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// lean is about the least that a proxy with sessions can do on the server of net/http. It is a floor for comparisons, not a
// proxy to use: it lets bodies of requests and responses without a Content-Length fall, follows no policy, records nothing,
// and cuts nothing.
type lean struct {
	upstream string
	sessions map[string]string // users by their tokens; never changes

	mu   sync.Mutex
	idle []*leanConn // guarded by mu
}

// leanConn is a connection to the upstream.
type leanConn struct {
	net.Conn
	reader *bufio.Reader
	head   []byte // of a request, reused
}

const (
	leanCookie = "session="
	leanToken  = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

func newLean(upstream string) http.Handler {
	return &lean{upstream: upstream, sessions: map[string]string{leanToken: "alice"}}
}

func (l *lean) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, ok := l.user(r.Header["Cookie"])
	if !ok {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	if r.ContentLength != 0 {
		http.Error(w, "not implemented", http.StatusNotImplemented)
		return
	}
	conn, err := l.connection()
	if err == nil {
		err = conn.forward(w, r, user)
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle = append(l.idle, conn)
}

// user returns the user whose token the cookies have.
func (l *lean) user(cookies []string) (user string, ok bool) {
	for _, cookie := range cookies {
		if token, found := strings.CutPrefix(cookie, leanCookie); found {
			user, ok = l.sessions[token]
		}
	}
	return user, ok
}

// connection returns an idle connection, or else a new one.
func (l *lean) connection() (*leanConn, error) {
	l.mu.Lock()
	if last := len(l.idle) - 1; last >= 0 {
		conn := l.idle[last]
		l.idle = l.idle[:last]
		l.mu.Unlock()
		return conn, nil
	}
	l.mu.Unlock()
	conn, err := net.Dial("tcp", l.upstream)
	if err != nil {
		return nil, err
	}
	return &leanConn{Conn: conn, reader: bufio.NewReader(conn)}, nil
}

// notForwarded are the headers of requests that are of one hop, or that the proxy sets.
var notForwarded = []string{"Connection", "Cookie", "Host", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-User"}

// forward sends the request, whose head it writes in one pass, and copies the response.
func (c *leanConn) forward(w http.ResponseWriter, r *http.Request, user string) error {
	head := append(c.head[:0], r.Method...)
	head = append(append(append(head, ' '), r.URL.RequestURI()...), " HTTP/1.1\r\n"...)
	head = appendLine(head, "Host", r.Host)
	for name, values := range r.Header {
		if slices.Contains(notForwarded, name) {
			continue
		}
		for _, value := range values {
			head = appendLine(head, name, value)
		}
	}
	head = append(head, "X-Forwarded-For: "...)
	if client, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		head = client.Addr().AppendTo(head)
	}
	head = append(head, "\r\n"...)
	head = appendLine(head, "X-Forwarded-Host", r.Host)
	head = appendLine(head, "X-Forwarded-Proto", "https")
	head = appendLine(head, "X-Forwarded-User", user)
	c.head = append(head, "\r\n"...)
	if _, err := c.Write(c.head); err != nil {
		return err
	}
	return c.copyResponse(w)
}

func appendLine(head []byte, name, value string) []byte {
	head = append(append(head, name...), ": "...)
	return append(append(head, value...), "\r\n"...)
}

// copyResponse reads the head of the response into the header of w, and copies the body from the buffer.
func (c *leanConn) copyResponse(w http.ResponseWriter) error {
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return err
	}
	if len(line) < 12 {
		return fmt.Errorf("responded with %q", line)
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return err
	}
	header, left := w.Header(), -1
	for {
		if line, err = c.reader.ReadSlice('\n'); err != nil {
			return err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		key, text := textproto.CanonicalMIMEHeaderKey(string(name)), string(bytes.TrimLeft(value, " "))
		header[key] = append(header[key], text)
		if key == "Content-Length" {
			if left, err = strconv.Atoi(text); err != nil {
				return err
			}
		}
	}
	if left < 0 {
		return errors.New("responded without a length")
	}
	w.WriteHeader(status)
	return c.copyBody(w, left)
}

func (c *leanConn) copyBody(w io.Writer, left int) error {
	for left > 0 {
		if _, err := c.reader.Peek(1); err != nil {
			return err
		}
		part, err := c.reader.Peek(min(left, c.reader.Buffered()))
		if err != nil {
			return err
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
		left -= len(part)
		if _, err := c.reader.Discard(len(part)); err != nil {
			return err
		}
	}
	return nil
}
