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
	after time.Duration

	mu     sync.Mutex // guards timers
	timers map[net.Conn]*time.Timer
}

func newIdlers(after time.Duration) *idlers {
	return &idlers{after: after, timers: map[net.Conn]*time.Timer{}}
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
		i.timers[c] = time.AfterFunc(i.after, func() { _ = c.Close() })
	}
}
