package main

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// idlers closes connections on which nothing was asked for a while. It stands in
// for http.Server's IdleTimeout: with that, net/http keeps everything of an HTTP/2
// connection that was torn down with requests waiting, a mebibyte perhaps, until
// the timeout has passed, and whoever opens thousands fills the memory.
type idlers struct {
	after   time.Duration
	crowded int // so many idle ones, and the next may be idle for crowdedAfter alone: strangers must not take all places

	mu     sync.Mutex // guards timers
	timers map[net.Conn]*time.Timer
}

// With more idle connections than crowdedFrom, further ones are closed after crowdedAfter.
const (
	crowdedFrom  = 4096
	crowdedAfter = 5 * time.Second
)

func newIdlers(after time.Duration) *idlers {
	return &idlers{after: after, crowded: crowdedFrom, timers: map[net.Conn]*time.Timer{}}
}

// note is http.Server's ConnState.
func (i *idlers) note(c net.Conn, state http.ConnState) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if t := i.timers[c]; t != nil {
		t.Stop()
		delete(i.timers, c)
	}
	if state == http.StateIdle {
		after := i.after
		if len(i.timers) >= i.crowded {
			after = min(after, crowdedAfter)
		}
		i.timers[c] = time.AfterFunc(after, func() { _ = c.Close() })
	}
}
