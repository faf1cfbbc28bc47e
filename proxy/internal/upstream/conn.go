package upstream

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"time"
)

const (
	connBuffer       = 4 << 10
	maxInformational = 5 // informational responses before the final one
	unlimited        = 1 << 62
)

var errLongHeader = errors.New("the header of the upstream's response is too long")

// conn is one persistent connection to a target (RFC 9112 §9.3). One goroutine at a time uses it.
type conn struct {
	net.Conn
	in        *bufio.Reader
	out       *bufio.Writer
	readLimit int64 // bytes that may still be read; bounds the header of a response
	responded bool  // some of the response to the request under way has arrived
	idleSince time.Time
	deadline  time.Time // the deadline that is set on the connection; zero: none
}

func newConn(netConn net.Conn) *conn {
	c := &conn{Conn: netConn}
	c.in, c.out = bufio.NewReaderSize(c, connBuffer), bufio.NewWriterSize(netConn, connBuffer)
	return c
}

// Read fails once the bytes of readLimit were read.
func (c *conn) Read(p []byte) (int, error) {
	if c.readLimit <= 0 {
		return 0, errLongHeader
	}
	n, err := c.Conn.Read(p)
	c.readLimit -= int64(n)
	return n, err
}

// roundTrip writes the request and reads the header of the final response. reusable reports whether the header can be
// read in one way only, so that the connection may be used again.
func (c *conn) roundTrip(r *http.Request, timeout time.Duration) (res *http.Response, reusable bool, err error) {
	c.responded = false
	c.deadline = time.Now().Add(timeout)
	if err := c.SetDeadline(c.deadline); err != nil {
		return nil, false, err
	}
	if err := writeRequestHead(c.out, r); err != nil {
		return nil, false, err
	}
	if err := c.out.Flush(); err != nil {
		return nil, false, err
	}
	for range maxInformational + 1 {
		c.readLimit = MaxHeaderBytes
		reusable = c.peekHead()
		if res, err = http.ReadResponse(c.in, r); err != nil {
			return nil, false, err
		}
		switched := res.StatusCode == http.StatusSwitchingProtocols && len(r.Header["Upgrade"]) > 0
		if switched || res.StatusCode < 100 || res.StatusCode >= 200 {
			c.readLimit = unlimited
			if c.hasArrived(res) {
				return res, reusable, nil // no read will wait, so the deadline may stay: clearing it costs a system call
			}
			return res, reusable, c.clearDeadline()
		}
		if err := passInformational(r, res); err != nil {
			return nil, false, err
		}
	}
	return nil, false, errors.New("the upstream sends informational responses without end")
}

// hasArrived reports whether all of the response has arrived. It is false for a connection that switched protocols.
func (c *conn) hasArrived(res *http.Response) bool {
	if res.StatusCode == http.StatusSwitchingProtocols {
		return false
	}
	return res.Body == http.NoBody || res.ContentLength >= 0 && int64(c.in.Buffered()) >= res.ContentLength
}

func (c *conn) clearDeadline() error {
	c.deadline = time.Time{}
	return c.SetDeadline(c.deadline)
}

// passInformational hands an informational response (RFC 9110 §15.2) to the trace of the request, as net/http's
// transport does.
func passInformational(r *http.Request, res *http.Response) error {
	if res.StatusCode == http.StatusSwitchingProtocols {
		return errors.New("the upstream switched to a protocol that the request did not ask for")
	}
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.Got1xxResponse != nil {
		return trace.Got1xxResponse(res.StatusCode, textproto.MIMEHeader(res.Header))
	}
	return nil
}

// switchedConn is the body of a 101: the connection, which speaks another protocol from now on.
type switchedConn struct {
	net.Conn
	buffered []byte // arrived along with the header
}

func newSwitchedConn(c *conn) *switchedConn {
	buffered := make([]byte, c.in.Buffered())
	_, _ = io.ReadFull(c.in, buffered) // cannot fail: it reads from the buffer
	return &switchedConn{Conn: c.Conn, buffered: buffered}
}

// Read returns the bytes that arrived along with the header first.
func (s *switchedConn) Read(p []byte) (int, error) {
	if len(s.buffered) == 0 {
		return s.Conn.Read(p)
	}
	n := copy(p, s.buffered)
	s.buffered = s.buffered[n:]
	return n, nil
}

// CloseWrite shuts down the writing side of the connection.
func (s *switchedConn) CloseWrite() error {
	half, ok := s.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
