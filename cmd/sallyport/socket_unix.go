package main

import (
	"fmt"
	"net"
	"syscall"
)

// listenPrivate listens on a Unix socket that only the process's own user can open. The file mode creation mask is set
// before the socket is created, so others cannot open it even for a moment.
func listenPrivate(path string) (*net.UnixListener, error) {
	defer syscall.Umask(syscall.Umask(0o177))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening on the control socket: %w", err)
	}
	return l, nil
}
