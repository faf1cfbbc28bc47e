//go:build unix

package upstream

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"
)

// connIdle reports whether an idle connection is open and has no unread bytes. The target may have closed it, or sent a
// response that no request asked for.
func connIdle(conn net.Conn) bool {
	if secure, ok := conn.(*tls.Conn); ok && !decryptedAll(secure) {
		return false
	}
	sc, ok := rawConn(conn).(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	idle := false
	err = raw.Read(func(fd uintptr) bool {
		var buf [1]byte
		_, _, err := syscall.Recvfrom(int(fd), buf[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		idle = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return idle && err == nil
}

// decryptedAll reports whether conn holds no bytes of the target that arrived along with others. Its deadline is none
// afterwards.
func decryptedAll(conn *tls.Conn) bool {
	if conn.SetReadDeadline(time.Unix(1, 0)) != nil {
		return false
	}
	n, err := conn.Read(make([]byte, 1))
	return n == 0 && IsTimeout(err) && conn.SetReadDeadline(time.Time{}) == nil
}
