//go:build unix

package upstream

import (
	"errors"
	"net"
	"syscall"
)

// canCheckIdle reports whether connIdle works on this system.
const canCheckIdle = true

// connIdle reports whether an idle connection is open and has no unread bytes. The target may have closed it, or sent a
// response that no request asked for.
func connIdle(conn net.Conn) bool {
	sc, ok := conn.(syscall.Conn)
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
