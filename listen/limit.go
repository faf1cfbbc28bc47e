package listen

import (
	"errors"
	"net"
	"sync"
)

// limitListener accepts a limited number of simultaneous connections; more wait to be accepted. Unlike those of
// golang.org/x/net/netutil.LimitListener, its connections have a CloseWrite method, which the proxy needs to cut a
// tunnel.
type limitListener struct {
	net.Listener
	sem       chan struct{} // holds one value for each connection
	closed    chan struct{}
	closeOnce func() error
}

func newLimitListener(l net.Listener, limit int) *limitListener {
	closed := make(chan struct{})
	return &limitListener{Listener: l, sem: make(chan struct{}, limit), closed: closed,
		closeOnce: sync.OnceValue(func() error { close(closed); return l.Close() })}
}

// Accept waits until the number of connections is below the limit, then for the next connection.
func (l *limitListener) Accept() (net.Conn, error) {
	select {
	case l.sem <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.sem
		return nil, err
	}
	return &limitConn{Conn: conn, release: sync.OnceFunc(func() { <-l.sem })}, nil
}

// Close closes the listener. An Accept that waits returns [net.ErrClosed].
func (l *limitListener) Close() error { return l.closeOnce() }

// limitConn is a connection that counts toward the limit until it is closed.
type limitConn struct {
	net.Conn
	release func()
}

// Close closes the connection, and lets the listener accept another.
func (c *limitConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

// CloseWrite closes the writing side of the connection.
func (c *limitConn) CloseWrite() error { return closeWrite(c.Conn) }

// closeWrite closes the writing side of conn. It returns [errors.ErrUnsupported] if conn cannot be half-closed.
func closeWrite(conn net.Conn) error {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
