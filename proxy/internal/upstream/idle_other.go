//go:build !unix

package upstream

import "net"

// connIdle reports false: no connection is used twice.
func connIdle(net.Conn) bool { return false }
