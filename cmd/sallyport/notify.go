package main

import (
	"net"
	"os"
	"strings"
)

// notifySystemd tells systemd of the state of this service (sd_notify(3)), if it wants to know.
func notifySystemd(state ...string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(strings.Join(state, "\n")))
	return err
}

// notify is [notifySystemd] for a server, which goes on without systemd too.
func (s *server) notify(state ...string) {
	if err := notifySystemd(state...); err != nil {
		s.log.Warn("systemd could not be told of the state of the service", "state", strings.Join(state, " "), "err", err)
	}
}
