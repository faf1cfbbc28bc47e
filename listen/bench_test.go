package listen

import (
	"net"
	"net/http"
	"testing"
	"time"
)

// BenchmarkTrack measures what the states of a connection cost for each request.
func BenchmarkTrack(b *testing.B) {
	s, idle := new(Server), newIdleTracker(time.Minute)
	hook := s.trackStates(idle)
	all := NewConnections(ConnectionLimits{Name: "bench", Total: 1000})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		raw, other := net.Pipe()
		defer other.Close()
		c := &conn{Conn: raw, of: all}
		all.mu.Lock()
		all.enter(c, &all.all)
		all.mu.Unlock()
		hook(c, http.StateNew)
		for pb.Next() {
			hook(c, http.StateActive)
			hook(c, http.StateIdle)
		}
		_ = c.Close()
		hook(c, http.StateClosed)
	})
}
