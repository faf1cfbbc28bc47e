package upstream

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"sync/atomic"
	"time"

	"sallyport/proxy/internal/lifetime"
)

const (
	connBuffer = 4 << 10
	promptly   = 20 * time.Millisecond // how long a request is under way before its client is watched
	unlimited  = 1 << 62
)

var errLongHeader = errors.New("the header of the upstream's response is too long")

// conn is one persistent connection to a target (RFC 9112 §9.3). One request at a time uses it.
type conn struct {
	net.Conn
	in        *bufio.Reader
	out       *bufio.Writer
	head      *headWriter // writes to out
	names     headNames   // of the responses so far
	readLimit int64       // bytes that may still be read; bounds the header of a response
	sent      atomic.Bool // some of the request under way was sent
	responded bool        // some of the response to the request under way has arrived
	body      *bodySender // sends the body of the request under way; nil if it has none
	idleSince time.Time
	life      *lifetime.Context // of the request under way
	until     time.Time         // zero, or when the response must have begun at the latest: reads have an earlier deadline
	prompt    time.Time         // that earlier deadline, of this request or one before; zero: reads have another
	end       lifetime.End      // aborts it at the end of a request
	probe     *idleProbe
}

func newConn(netConn net.Conn) *conn {
	c := &conn{Conn: netConn}
	c.in, c.out = bufio.NewReaderSize(c, connBuffer), bufio.NewWriterSize(c, connBuffer)
	c.head = newHeadWriter(c.out)
	c.end.Call, c.probe = c.abort, newIdleProbe(netConn)
	return c
}

// Read fails once the bytes of readLimit were read.
func (c *conn) Read(p []byte) (int, error) {
	if c.readLimit <= 0 {
		return 0, errLongHeader
	}
	n, err := c.Conn.Read(p)
	if n == 0 && !c.until.IsZero() && IsTimeout(err) {
		deadline := c.until
		if err = c.waitLong(deadline); err == nil {
			n, err = c.Conn.Read(p)
		}
	}
	c.readLimit -= int64(n)
	return n, err
}

// waitLong sets the deadline for reads. The connection is closed from now on if the client leaves.
func (c *conn) waitLong(deadline time.Time) error {
	c.until, c.prompt = time.Time{}, time.Time{}
	c.life.Watch()
	return c.SetReadDeadline(deadline)
}

// Write writes a part of a request. All but a short first one may have to wait until the target reads.
func (c *conn) Write(p []byte) (int, error) {
	if len(p) > connBuffer || c.sent.Load() {
		c.life.Watch()
	}
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.sent.Store(true)
	}
	return n, err
}

// isIdle reports whether nothing has arrived since the last response, and the target has not closed the connection.
func (c *conn) isIdle() bool {
	if _, ok := c.Conn.(*tls.Conn); ok {
		c.prompt = time.Time{} // to look for decrypted bytes takes a deadline of its own
	}
	return c.probe.isIdle(c.Conn)
}

// abort closes the connection at once. Close would send a TLS alert first, and might have to wait.
func (c *conn) abort() { _ = rawConn(c.Conn).Close() }

// roundTrip writes the request and reads the header of the final response. reusable reports whether the header can be
// read in one way only, so that the connection may be used again.
func (c *conn) roundTrip(r *Request, now time.Time, timeout time.Duration) (res *http.Response, reusable bool, err error) {
	c.responded, c.body = false, nil
	c.sent.Store(false)
	if err := c.setDeadlines(r, now, timeout); err != nil {
		return nil, false, err
	}
	if err = c.head.write(r); err == nil {
		err = c.out.Flush()
	}
	switch {
	case err != nil && !c.sent.Load():
		return nil, false, err
	case err != nil: // the target may have responded to what it did receive
		_ = c.waitLong(time.Now().Add(responseAfterError))
	case r.hasBody():
		if err := c.SetDeadline(time.Time{}); err != nil { // sending takes as long as the client takes
			return nil, false, err
		}
		c.body = newBodySender(c, r, timeout)
		go c.body.run()
	}
	sendErr := err
	if res, reusable, err = c.readFinal(r); err != nil {
		return nil, false, sendingFailed(sendErr, c.body.cause(err))
	}
	return res, reusable && sendErr == nil, nil
}

// setDeadlines sets the deadlines for a request without its body and for the header of the response, both timeout from
// now. Most responses have arrived whole after promptly: until then, Read does not watch the client. A deadline of a request
// before does as well, unless less than half of that time is left: setting one costs more than all the rest.
func (c *conn) setDeadlines(r *Request, now time.Time, timeout time.Duration) error {
	deadline := now.Add(timeout)
	if err := c.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if r.hasBody() || timeout <= promptly {
		return c.waitLong(deadline)
	}
	c.until = deadline
	if c.prompt.Sub(now) >= promptly/2 {
		return nil
	}
	c.prompt = now.Add(promptly)
	return c.SetReadDeadline(c.prompt)
}

// readFinal reads responses up to the header of the final one.
func (c *conn) readFinal(r *Request) (res *http.Response, reusable bool, err error) {
	for reusable = true; ; {
		c.readLimit = MaxHeaderBytes
		h, err := c.peekHead(r)
		if err != nil {
			return nil, false, err
		}
		reusable = reusable && h.unambiguous
		if res = c.readPlain(r, h); res == nil {
			if res, err = http.ReadResponse(c.in, &http.Request{Method: r.Method}); err != nil {
				return nil, false, err
			}
		}
		switched := res.StatusCode == http.StatusSwitchingProtocols && r.Upgrade
		if switched || res.StatusCode < 100 || res.StatusCode >= 200 {
			c.readLimit = unlimited
			return res, reusable, c.endWait(res)
		}
		if res.StatusCode == http.StatusSwitchingProtocols {
			return nil, false, errors.New("the upstream switched to a protocol that the request did not ask for")
		}
		if err := r.receive(res.StatusCode, textproto.MIMEHeader(res.Header)); err != nil {
			return nil, false, err
		}
		if res.StatusCode == http.StatusContinue {
			c.body.proceed()
		}
	}
}

// endWait clears the deadline, unless no read will wait: clearing it costs a system call.
func (c *conn) endWait(res *http.Response) error {
	if c.body != nil {
		return c.body.endWait()
	}
	if c.hasArrived(res) {
		c.until = time.Time{}
		return nil
	}
	return errors.Join(c.waitLong(time.Time{}), c.SetWriteDeadline(time.Time{}))
}

// hasArrived reports whether all of the response has arrived. It is false for a connection that switched protocols.
func (c *conn) hasArrived(res *http.Response) bool {
	if res.StatusCode == http.StatusSwitchingProtocols {
		return false
	}
	return res.Body == http.NoBody || res.ContentLength >= 0 && int64(c.in.Buffered()) >= res.ContentLength
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
