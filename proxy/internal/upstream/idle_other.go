//go:build !unix

package upstream

import "net"

// idleProbe cannot look at connections.
type idleProbe struct{}

func newIdleProbe(net.Conn) *idleProbe { return nil }

// isIdle reports false: no connection is used twice.
func (*idleProbe) isIdle(net.Conn) bool { return false }
