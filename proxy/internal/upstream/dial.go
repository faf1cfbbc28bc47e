package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"sallyport/deadline"
)

// Errors of a connection to a target that chose the other protocol. Nothing was sent over it.
var (
	errChoseHTTP1 = errors.New("the target does not speak HTTP/2")
	errChoseHTTP2 = errors.New("the target chose HTTP/2")
)

// dialer connects to one target.
type dialer struct {
	net.Dialer
	address string
	tls     *tls.Config // nil: without TLS
}

// http1 returns a connection for HTTP/1.1. Unless the connection must be one, the target may choose HTTP/2; http1 then
// returns errChoseHTTP2.
func (d *dialer) http1(ctx context.Context, must bool) (net.Conn, error) {
	offer := []string{"h2", "http/1.1"}
	if must {
		offer = nil
	}
	conn, chosen, err := d.connect(ctx, offer, func(c net.Conn) net.Conn { return deadline.New(c) })
	if err == nil && chosen == "h2" {
		_ = conn.Close()
		return nil, errChoseHTTP2
	}
	return conn, err
}

// http2 returns a connection for HTTP/2. Its signature is that of [http.Transport.DialTLSContext].
func (d *dialer) http2(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, chosen, err := d.connect(ctx, []string{"h2", "http/1.1"}, newPatientConn)
	if err == nil && d.tls != nil && chosen != "h2" {
		_ = conn.Close()
		return nil, errChoseHTTP1
	}
	return conn, err
}

// connect returns a connection and, with TLS, the protocol that the target chose of those offered. wrap is applied to the
// connection under TLS.
func (d *dialer) connect(ctx context.Context, offer []string, wrap func(net.Conn) net.Conn) (conn net.Conn, chosen string, err error) {
	ctx, stop := context.WithTimeout(ctx, dialTimeout)
	defer stop()
	if conn, err = d.DialContext(ctx, "tcp", d.address); err != nil {
		return nil, "", unreachedError{err}
	}
	conn = wrap(conn)
	if d.tls == nil {
		return conn, "", nil
	}
	config := d.tls.Clone()
	config.NextProtos = offer
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(d.address) // cannot fail: hostPort made it
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, "", unreachedError{fmt.Errorf("TLS handshake: %w", err)}
	}
	return secure, secure.ConnectionState().NegotiatedProtocol, nil
}

// patientConn is a connection that takes further writes after the target broke it, and drops them: the next read without
// data fails. net/http's HTTP/2 ends all streams at once when a write fails, before it reads the responses that have
// arrived.
type patientConn struct {
	net.Conn
	broken atomic.Bool
}

func newPatientConn(conn net.Conn) net.Conn { return &patientConn{Conn: conn} }

// Write writes p, or drops it.
func (c *patientConn) Write(p []byte) (int, error) {
	if c.broken.Load() {
		return len(p), nil
	}
	n, err := c.Conn.Write(p)
	if err == nil || IsTimeout(err) || errors.Is(err, net.ErrClosed) {
		return n, err
	}
	c.broken.Store(true)
	return len(p), c.SetReadDeadline(time.Now().Add(responseAfterError))
}

// unreachedError means that no connection could be made, so that nothing was sent.
type unreachedError struct{ error }

// Unwrap returns why.
func (e unreachedError) Unwrap() error { return e.error }

func isUnreached(err error) bool { return errors.As(err, new(unreachedError)) }

// IsExhausted reports whether err says that this process or machine has no file descriptors, ports or memory left for
// another connection. That says nothing of the target.
func IsExhausted(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		var lookup *net.DNSError // has the text of the cause, but does not wrap it
		if errors.Is(err, errno) || errors.As(err, &lookup) && strings.HasSuffix(lookup.Err, errno.Error()) {
			return true
		}
	}
	return false
}

// rawConn returns the connection under TLS.
func rawConn(conn net.Conn) net.Conn {
	if secure, ok := conn.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return conn
}
