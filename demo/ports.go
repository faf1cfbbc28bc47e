package demo

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"syscall"
)

// listenAll listens on loopback at each port, or at a free one where it is taken (or 0).
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

// reserveAll finds ports that listenAll would take and leaves them free, for a server that opens its listeners itself.
func reserveAll(wishes ...int) (ports []int, err error) {
	all, err := listenAll(wishes...)
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

// listenAt listens at a port of 127.0.0.1 and makes sure that nobody else answers there on ::1, which browsers take
// for localhost as well.
func listenAt(port int) (net.Listener, error) {
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	other, err := net.Listen("tcp6", net.JoinHostPort("::1", strconv.Itoa(l.Addr().(*net.TCPAddr).Port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, errors.Join(err, l.Close())
	}
	if err != nil {
		return l, nil // this machine has no IPv6
	}
	return l, other.Close()
}

// hostOf is host:port of one of our own URLs.
func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Host
}
