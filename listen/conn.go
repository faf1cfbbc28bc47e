package listen

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// How long a connection is not yet slow, or idle, whatever it does: after it was accepted or a request on it began, and
// after a response. It comes last among those that may be closed as long.
const (
	requestSpared = HeaderTimeout
	idleSpared    = time.Second
)

// earnedPerByte is what a byte in either direction adds to the time for which a connection is not slow: one that carries
// a KiB a second never is.
const earnedPerByte = time.Second / 1024

// conn is a connection that counts toward the limits of [Connections] until it is closed.
type conn struct {
	net.Conn
	of       *Connections
	identify sync.Once    // counts the connection toward the limit of its address
	spared   atomic.Int64 // until when it was fast enough; a duration since of.begun

	// Guarded by of.mu.
	client netip.Prefix // zero: not known yet, or without a bound
	groups []*group     // in which it is counted
	idle   bool         // no request is under way, and there was one
	ended  bool

	authenticated bool // the caller of a request under way, or of the last one, is authenticated
	left          bool // one of groups does not have it among those that may be closed
}

// spare makes the connection count as fast until a time from now.
func (c *conn) spare(d time.Duration) { c.spared.Store(int64(c.of.now() + d)) }

// earn notes that n bytes were read or written.
func (c *conn) earn(n int) {
	if n <= 0 {
		return
	}
	now := int64(c.of.now())
	for {
		old := c.spared.Load()
		if old >= now || c.spared.CompareAndSwap(old, min(now, old+int64(n)*int64(earnedPerByte))) {
			return
		}
	}
}

// mayBeClosed reports whether the connection may be closed in favour of another. of.mu is held.
func (c *conn) mayBeClosed() bool { return !c.authenticated || c.idle }

// joinClosable adds the connection to those of its groups that may be closed. of.mu is held.
func (c *conn) joinClosable() {
	if !c.left {
		return
	}
	c.left = false
	for _, g := range c.groups {
		g.closable[c] = struct{}{}
	}
}

// goesBefore reports whether c is closed before other: idle connections before slow ones, and those of authenticated
// callers last. of.mu is held.
func (c *conn) goesBefore(other *conn, now time.Duration) bool {
	return cmp.Or(cmp.Compare(c.rank(now), other.rank(now)), cmp.Compare(c.spared.Load(), other.spared.Load())) < 0
}

func (c *conn) rank(now time.Duration) int {
	switch {
	case c.authenticated:
		return 2
	case c.idle && c.spared.Load() <= int64(now):
		return 0
	}
	return 1
}

// reason returns why the connection is closed in favour of another.
func (c *conn) reason() string {
	if c.idle {
		return reasonIdle
	}
	return reasonSlow
}

// Read reads from the connection.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.earn(n)
	return n, err
}

// Write writes to the connection.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.earn(n)
	return n, err
}

// RemoteAddr returns the address of the client. It closes the connection if the address has too many.
func (c *conn) RemoteAddr() net.Addr {
	addr := c.Conn.RemoteAddr()
	c.isFrom(addr)
	return addr
}

// isFrom counts the connection toward the limit of its address, the first time that it is called.
func (c *conn) isFrom(addr net.Addr) {
	c.identify.Do(func() {
		if !c.joinClient(ipOf(addr)) {
			_ = c.Close()
		}
	})
}

// joinClient counts the connection toward the limit of addr. It reports whether there is a place, or another connection
// of that address was closed for it.
func (c *conn) joinClient(addr netip.Addr) bool {
	client := c.of.clientOf(addr)
	if !client.IsValid() {
		return true
	}
	c.of.mu.Lock()
	if c.ended {
		c.of.mu.Unlock()
		return true
	}
	c.client = client
	displaced, ok := c.of.enter(c, c.of.clientGroup(client))
	c.of.mu.Unlock()
	if displaced != nil {
		_ = displaced.Conn.Close()
	}
	if !ok {
		c.of.closed.WithLabelValues(reasonAddress).Inc()
	}
	return ok
}

// Close closes the connection, which no longer counts.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if !c.ended {
		c.of.remove(c)
	}
	return err
}

// CloseWrite closes the writing side of the connection, which the proxy needs to cut a tunnel.
func (c *conn) CloseWrite() error { return closeWrite(c.Conn) }

// closeWrite closes the writing side of conn. It returns [errors.ErrUnsupported] if conn cannot be half-closed.
func closeWrite(conn net.Conn) error {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// limitListener accepts connections that count toward the limits of [Connections].
type limitListener struct {
	net.Listener
	connections *Connections
	closed      bool // guarded by connections.mu
}

// Accept waits for the next connection, and then until there is a place for it.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: raw, of: l.connections}
		c.spare(requestSpared)
		if addr, ok := knownAddr(raw); ok {
			c.isFrom(addr)
		}
		if l.enter(c) {
			return c, nil
		}
		_ = c.Close()
	}
}

// knownAddr returns the address of the client, unless a PROXY protocol header must arrive first.
func knownAddr(conn net.Conn) (net.Addr, bool) {
	if p, ok := conn.(*proxyProtoConn); ok {
		return p.Conn.RemoteAddr(), !p.mustSendHeader()
	}
	return conn.RemoteAddr(), true
}

// enter counts c, and closes another connection if there are too many. While there is none that may be closed, it waits.
// It reports false if c has ended, or the listener was closed, meanwhile. If there is a place, a connection that was accepted
// before the listener was closed has it: its client knows of nothing.
func (l *limitListener) enter(c *conn) bool {
	t := l.connections
	t.mu.Lock()
	for !c.ended {
		if displaced, ok := t.enter(c, &t.all); ok {
			t.mu.Unlock()
			if displaced != nil {
				_ = displaced.Conn.Close()
			}
			return true
		}
		if l.closed {
			break
		}
		t.freed.Wait()
	}
	t.mu.Unlock()
	return false
}

// Close closes the listener. An Accept that waits returns [net.ErrClosed].
func (l *limitListener) Close() error {
	l.connections.mu.Lock()
	l.closed = true
	l.connections.freed.Broadcast()
	l.connections.mu.Unlock()
	return l.Listener.Close()
}
