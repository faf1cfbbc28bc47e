package listen

import (
	"context"
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Beside opens a listener for addr although servers have listeners that overlap with it. From then on, a process of the same user
// that asks for SO_REUSEPORT may open another on that port, as the kernel remembers; nobody else can.
func Beside(addr string, servers []*Server) (net.Listener, error) {
	for _, s := range servers {
		if err := setReusePort(s.socket, 1); err != nil {
			return nil, err
		}
		defer func() { _ = setReusePort(s.socket, 0) }()
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error { return controlReusePort(raw, 1) }}
	l, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, explained(err)
	}
	if err := setReusePort(l, 0); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func setReusePort(l net.Listener, value int) error {
	socket, ok := l.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	return controlReusePort(raw, value)
}

func controlReusePort(raw syscall.RawConn, value int) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, value) //nolint:gosec // a descriptor
	})
	return errors.Join(err, failed)
}
