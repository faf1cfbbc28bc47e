//go:build !unix

package upstream

import "net"

// canCheckIdle is false: without connIdle, every request uses net/http's transport.
const canCheckIdle = false

func connIdle(net.Conn) bool { return false }
