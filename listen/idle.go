package listen

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// idleTracker closes connections that are idle for too long. It replaces [http.Server.IdleTimeout]: with that, net/http
// keeps the memory of an HTTP/2 connection that ended with requests waiting, about 1 MiB, until the timeout expires, so
// that a client which opens thousands of connections exhausts the memory.
type idleTracker struct {
	timeout time.Duration
	maxIdle int64 // with this many idle connections, a further one may be idle for shortIdleTimeout only
	idle    atomic.Int64

	mu     sync.RWMutex // guards timers
	timers map[net.Conn]*idleTimer
}

// Idle connections beyond maxIdle are closed after shortIdleTimeout, so that anonymous clients cannot occupy all of
// limits.connections.
const (
	maxIdle          = 4096
	shortIdleTimeout = 5 * time.Second
)

func newIdleTracker(timeout time.Duration) *idleTracker {
	return &idleTracker{timeout: timeout, maxIdle: maxIdle, timers: map[net.Conn]*idleTimer{}}
}

// track is the ConnState hook of an [http.Server].
func (t *idleTracker) track(conn net.Conn, state http.ConnState) {
	t.mu.RLock()
	timer := t.timers[conn]
	t.mu.RUnlock()
	switch {
	case state == http.StateClosed || state == http.StateHijacked:
		t.remove(conn, timer)
	case state == http.StateIdle:
		if timer == nil {
			timer = t.add(conn)
		}
		timer.begin(t)
	case timer != nil:
		timer.end(t)
	}
}

func (t *idleTracker) add(conn net.Conn) *idleTimer {
	timer := &idleTimer{conn: conn}
	t.mu.Lock()
	t.timers[conn] = timer
	t.mu.Unlock()
	return timer
}

func (t *idleTracker) remove(conn net.Conn, timer *idleTimer) {
	if timer == nil {
		return
	}
	t.mu.Lock()
	delete(t.timers, conn)
	t.mu.Unlock()
	timer.end(t)
	timer.mu.Lock()
	defer timer.mu.Unlock()
	if timer.timer != nil {
		timer.timer.Stop()
	}
}

// idleTimer closes a connection that is idle for too long. It is set once for many requests: when it expires and the
// connection is in use, or has been since, it is set again or waits for the connection to be idle.
type idleTimer struct {
	conn net.Conn

	mu    sync.Mutex // guards what follows
	until time.Time  // when the connection is closed; zero: it is in use
	timer *time.Timer
	at    time.Time // when timer expires; zero: it is not set
}

// begin notes that the connection is idle from now on.
func (i *idleTimer) begin(t *idleTracker) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.until.IsZero() {
		t.idle.Add(1)
	}
	timeout := t.timeout
	if t.idle.Load() > t.maxIdle {
		timeout = min(timeout, shortIdleTimeout)
	}
	i.until = time.Now().Add(timeout)
	if i.at.IsZero() || i.until.Before(i.at) {
		i.set(timeout)
	}
}

// end notes that the connection is in use, or closed.
func (i *idleTimer) end(t *idleTracker) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.until.IsZero() {
		i.until = time.Time{}
		t.idle.Add(-1)
	}
}

// set sets the timer to expire when the connection is to be closed, after a duration. mu is held.
func (i *idleTimer) set(after time.Duration) {
	i.at = i.until
	if i.timer == nil {
		i.timer = time.AfterFunc(after, i.expire)
		return
	}
	i.timer.Reset(after)
}

func (i *idleTimer) expire() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.at = time.Time{}
	if i.until.IsZero() {
		return
	}
	if left := time.Until(i.until); left > 0 {
		i.set(left)
		return
	}
	_ = i.conn.Close()
}
