package main

import (
	"fmt"
	"net"
	"os"
)

// listenPrivate listens on a Unix socket that only our own user may open. The
// socket is made inside a folder of ours under a name nobody knows yet, closed to others, and
// only then moved to where it belongs, so that there is no moment of openness.
func listenPrivate(path string) (net.Listener, error) {
	hidden := fmt.Sprintf("%s.%d", path, os.Getpid())
	_ = os.Remove(hidden)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: hidden, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening on the control socket %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(hidden, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("closing the control socket to others: %w", err)
	}
	if err := os.Rename(hidden, path); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("placing the control socket: %w", err)
	}
	return l, nil
}
