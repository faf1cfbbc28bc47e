package main

import (
	"fmt"
	"net"
	"syscall"
)

// listenPrivate listens on a Unix socket that only our own user may open: it is
// made under a mask that leaves others nothing, so there is no moment of openness.
func listenPrivate(path string) (net.Listener, error) {
	defer syscall.Umask(syscall.Umask(0o177))
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening on the control socket: %w", err)
	}
	return l, nil
}
