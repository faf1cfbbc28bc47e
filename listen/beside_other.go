//go:build !linux

package listen

import (
	"fmt"
	"net"
)

// Beside opens a listener for addr although servers have listeners that overlap with it, which this system does not allow.
func Beside(addr string, servers []*Server) (net.Listener, error) {
	return nil, fmt.Errorf("%s overlaps with %s, on which this server listens until the reload is done: write another port, or restart the server", addr, servers[0].Addr())
}
