//go:build unix

package upstream

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"
)

// idleProbe looks at a connection that was idle. The target may have closed it, or sent a response that no request asked
// for.
type idleProbe struct {
	raw    syscall.RawConn // nil: it cannot be looked at
	look   func(fd uintptr)
	silent bool // the last look saw an open connection without unread bytes
	next   [1]byte
}

// newIdleProbe returns what looks at conn.
func newIdleProbe(conn net.Conn) *idleProbe {
	p := &idleProbe{}
	p.look = func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), p.next[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		p.silent = errors.Is(err, syscall.EAGAIN)
	}
	if sc, ok := rawConn(conn).(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			p.raw = raw
		}
	}
	return p
}

// isIdle reports whether conn is open and has no unread bytes.
func (p *idleProbe) isIdle(conn net.Conn) bool {
	if secure, ok := conn.(*tls.Conn); ok && !decryptedAll(secure, p.next[:]) || p.raw == nil {
		return false
	}
	p.silent = false
	err := p.raw.Control(p.look)
	return p.silent && err == nil
}

// decryptedAll reports whether conn holds no bytes of the target that arrived along with others. Its deadline is none
// afterwards.
func decryptedAll(conn *tls.Conn, buf []byte) bool {
	if conn.SetReadDeadline(time.Unix(1, 0)) != nil {
		return false
	}
	n, err := conn.Read(buf)
	return n == 0 && IsTimeout(err) && conn.SetReadDeadline(time.Time{}) == nil
}
