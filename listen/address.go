package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"syscall"
)

// ListensOn reports whether the listener of s is the one that would be opened for addr.
func (s *Server) ListensOn(addr string) bool {
	wanted, err := resolve(addr)
	return err == nil && wanted.Port() != 0 && wanted == s.address()
}

// Overlaps reports whether no other listener can be opened for addr while that of s is open, although they are not the same.
func (s *Server) Overlaps(addr string) bool {
	wanted, err := resolve(addr)
	if err != nil || wanted.Port() == 0 {
		return false
	}
	own := s.address()
	return wanted.Port() == own.Port() && wanted != own && (wanted.Addr().IsUnspecified() || own.Addr().IsUnspecified())
}

func (s *Server) address() netip.AddrPort {
	if addr, ok := s.socket.Addr().(*net.TCPAddr); ok {
		return oneSpelling(addr.AddrPort())
	}
	return netip.AddrPort{}
}

// resolve returns where a listener for addr listens, as [net.Listen] resolves it.
func resolve(addr string) (netip.AddrPort, error) {
	resolved, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return oneSpelling(resolved.AddrPort()), nil
}

// oneSpelling has one spelling for every address: for [net.Listen], 0.0.0.0 and :: are the same.
func oneSpelling(a netip.AddrPort) netip.AddrPort {
	ip := a.Addr().Unmap()
	if !ip.IsValid() || ip.IsUnspecified() {
		ip = netip.IPv6Unspecified()
	}
	return netip.AddrPortFrom(ip, a.Port())
}

// Share returns another listener on the socket of s, for a server that takes its place. While one of both is open, connections
// wait in one queue.
func (s *Server) Share() (net.Listener, error) {
	f, err := s.File()
	if err != nil {
		return nil, err
	}
	return FromFile(f)
}

// Serves reports whether ctx is that of a request to s.
func (s *Server) Serves(ctx context.Context) bool {
	server, ok := ctx.Value(http.ServerContextKey).(*http.Server)
	return ok && server == s.http
}

// explained returns an error of [net.Listen] that says what to do about it.
func explained(err error) error { return fmt.Errorf("%w; %s", err, remedy(err)) }

// remedy says what to do about an error of [net.Listen].
func remedy(err error) string {
	switch {
	case errors.Is(err, os.ErrPermission):
		return "write a port from 1024 on, or give the user of the server the right (CAP_NET_BIND_SERVICE)"
	case errors.Is(err, syscall.EADDRINUSE):
		return "another program listens there: stop it, or write another address"
	default:
		return "write an address of this machine, or 0.0.0.0 for all of them"
	}
}
