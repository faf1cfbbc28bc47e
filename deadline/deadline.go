// Package deadline wraps a connection whose deadlines are set several times for each request, and hardly ever pass.
//
// A deadline takes effect exactly as that of any [net.Conn], but it is set on the wrapped connection, which costs a timer,
// only for a call that it would end earlier than the deadline that is set there does. What is set there may therefore pass
// before the deadline that is wanted: the call then sets the wanted one and goes on.
package deadline

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is a connection with deadlines that cost little.
type Conn struct {
	net.Conn
	reads, writes calls
}

// New returns a connection that wraps conn. From now on, deadlines must not be set on conn itself.
func New(conn net.Conn) *Conn {
	begun := time.Now()
	return &Conn{Conn: conn, reads: calls{begun: begun, set: conn.SetReadDeadline}, writes: calls{begun: begun, set: conn.SetWriteDeadline}}
}

// Read reads from the connection.
func (c *Conn) Read(p []byte) (n int, err error) {
	c.reads.begin()
	n, err = c.Conn.Read(p)
	for n == 0 && err != nil && c.reads.goOn(err) {
		n, err = c.Conn.Read(p)
	}
	c.reads.end()
	return n, err
}

// Write writes to the connection.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.writes.begin()
	n, err = c.Conn.Write(p)
	for err != nil && c.writes.goOn(err) {
		var more int
		more, err = c.Conn.Write(p[n:])
		n += more
	}
	c.writes.end()
	return n, err
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline sets the deadline for reads, of which one may be under way.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.reads.want(t) }

// SetWriteDeadline sets the deadline for writes, of which one may be under way.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.writes.want(t) }

// CloseWrite closes the writing side of the connection. It returns [errors.ErrUnsupported] if that is not possible.
func (c *Conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// SyscallConn returns the file descriptor of the connection. It returns [errors.ErrUnsupported] if there is none.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	descriptor, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return descriptor.SyscallConn()
}

// calls are the reads of a connection, or its writes. A deadline is a duration since begun, and 0 if there is none; it is
// negative only if it was past when it was set.
//
// No wanted deadline is missed: want stores it before it looks whether a call is under way, and a call says that it is
// under way before it looks what is wanted. So one of them sees the other, and sets the deadline on the connection.
type calls struct {
	begun    time.Time
	set      func(time.Time) error // on the connection; it takes effect for calls under way too
	wanted   atomic.Int64
	underWay atomic.Int32

	mu    sync.Mutex   // held while a deadline is set on the connection
	armed atomic.Int64 // the deadline that is set there; written under mu
}

// want sets the deadline that is wanted.
func (c *calls) want(t time.Time) error {
	at := int64(0)
	if !t.IsZero() {
		if at = int64(t.Sub(c.begun)); at == 0 {
			at = 1
		}
	}
	c.wanted.Store(at)
	if armed := c.armed.Load(); c.underWay.Load() == 0 || !isBefore(at, armed) {
		return nil
	}
	return c.arm()
}

// begin says that a call is under way, and sets the wanted deadline if the one that is set passes later, or has passed.
func (c *calls) begin() {
	c.underWay.Add(1)
	if wanted, armed := c.wanted.Load(), c.armed.Load(); isBefore(wanted, armed) || armed < 0 && wanted >= 0 {
		_ = c.arm() // fails if the connection is closed; then the call does too
	}
}

func (c *calls) end() { c.underWay.Add(-1) }

// isBefore reports whether a deadline is earlier than the one that is armed.
func isBefore(at, armed int64) bool { return at != 0 && (armed == 0 || at < armed) }

// arm sets the wanted deadline on the connection. It looks again afterwards: want may have stored another meanwhile, and have
// seen the deadline that was set before.
func (c *calls) arm() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := c.wanted.Load(); at != c.armed.Load(); at = c.wanted.Load() {
		c.armed.Store(at)
		err = c.set(c.timeOf(at))
	}
	return err
}

func (c *calls) timeOf(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return c.begun.Add(time.Duration(at))
}

// goOn reports whether a call that ended with err is to be made again: a deadline passed, but not the one that is wanted.
func (c *calls) goOn(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	at := c.wanted.Load()
	if at < 0 || at > 0 && at <= int64(time.Since(c.begun)) {
		return false
	}
	return c.arm() == nil
}
