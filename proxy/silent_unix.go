//go:build unix

package proxy

import (
	"errors"
	"net"
	"syscall"
)

// canTell says whether silent can tell.
const canTell = true

// silent says that nothing came over a connection that nobody asked anything: no farewell, and no answer to a question
// that was never put.
func silent(conn net.Conn) bool {
	raw, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	control, err := raw.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = control.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return quiet && err == nil
}
