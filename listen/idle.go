package listen

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// idleTracker closes connections that are idle for too long. It replaces [http.Server.IdleTimeout]: with that, net/http
// keeps the memory of an HTTP/2 connection that ended with requests waiting, about 1 MiB, until the timeout expires, so
// that a client which opens thousands of connections exhausts the memory.
type idleTracker struct {
	timeout time.Duration
	maxIdle int // with this many idle connections, a further one may be idle for shortIdleTimeout only

	mu     sync.Mutex // guards timers
	timers map[net.Conn]*time.Timer
}

// Idle connections beyond maxIdle are closed after shortIdleTimeout, so that anonymous clients cannot occupy all of
// limits.connections.
const (
	maxIdle          = 4096
	shortIdleTimeout = 5 * time.Second
)

func newIdleTracker(timeout time.Duration) *idleTracker {
	return &idleTracker{timeout: timeout, maxIdle: maxIdle, timers: map[net.Conn]*time.Timer{}}
}

// track is the ConnState hook of an [http.Server].
func (t *idleTracker) track(conn net.Conn, state http.ConnState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if timer := t.timers[conn]; timer != nil {
		timer.Stop()
		delete(t.timers, conn)
	}
	if state == http.StateIdle {
		timeout := t.timeout
		if len(t.timers) >= t.maxIdle {
			timeout = min(timeout, shortIdleTimeout)
		}
		t.timers[conn] = time.AfterFunc(timeout, func() { _ = conn.Close() })
	}
}
