package upstream

import (
	"context"
	"net"
	"syscall"
	"testing"
	"time"
)

// TestUpstream_ClientThatLeavesIsNoFailure checks that a client that leaves during dialing does not put a target into
// back-off, whichever transport dials.
func TestUpstream_ClientThatLeavesIsNoFailure(t *testing.T) {
	for _, method := range []string{"GET", "DELETE"} { // sent over our transport and over net/http's
		u := newUpstream(t, Config{Timeout: time.Minute}, "http://"+unusedAddress(t))
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		dialed := false
		dialer := net.Dialer{Control: func(string, string, syscall.RawConn) error { dialed = true; leave(); return nil }}
		target := u.targets[0]
		target.http1.dialer, target.stock.DialContext = dialer, dialer.DialContext
		if _, err := send(ctx, u, method, ""); err == nil || !dialed {
			t.Fatalf("%s: dialed: %t, %v", method, dialed, err)
		}
		if !target.available(time.Now()) {
			t.Errorf("%s: the target counts as unreachable", method)
		}
	}
}
