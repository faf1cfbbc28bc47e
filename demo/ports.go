package demo

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"syscall"
)

// listenAll listens on loopback at each port, or at a free one if the port is in use or 0.
func listenAll(ports ...int) (all []net.Listener, err error) {
	for _, port := range ports {
		l, err := listenAt(port)
		if err != nil && port != 0 {
			l, err = listenAt(0)
		}
		if err != nil {
			return nil, errors.Join(err, closeAll(all))
		}
		all = append(all, l)
	}
	return all, nil
}

// reserveAll returns ports at which listenAll would listen and leaves them free, for a server that opens its own
// listeners.
func reserveAll(preferred ...int) (ports []int, err error) {
	all, err := listenAll(preferred...)
	for _, l := range all {
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, errors.Join(err, closeAll(all))
}

func closeAll(all []net.Listener) (err error) {
	for _, l := range all {
		err = errors.Join(err, l.Close())
	}
	return err
}

// listenAt listens at a port of 127.0.0.1, unless another process listens at the same port of ::1: browsers try both
// for localhost.
func listenAt(port int) (net.Listener, error) {
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	v6, err := net.Listen("tcp6", net.JoinHostPort("::1", strconv.Itoa(l.Addr().(*net.TCPAddr).Port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, errors.Join(err, l.Close())
	}
	if err != nil {
		return l, nil // this machine has no IPv6
	}
	return l, v6.Close()
}

// hostOf returns the host:port of a URL.
func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Host
}
