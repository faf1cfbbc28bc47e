package sink

import (
	"context"
	"net"
	"time"
)

// Dial has receivers that speak HTTP connect by dial.
func (s *Sinks) Dial(dial func(ctx context.Context, network, addr string) (net.Conn, error)) {
	for _, k := range s.all {
		k.to.(*httpReceiver).dial = dial
	}
}

// Hasten has the sinks try and look often, so that tests do not wait.
func (s *Sinks) Hasten() {
	for _, k := range s.all {
		k.pace = pace{poll: 5 * time.Millisecond, first: 2 * time.Millisecond, most: 20 * time.Millisecond, attempt: 30 * time.Second, settle: 50 * time.Millisecond, stopping: 2 * time.Second}
	}
}

// ShortAttempts has an attempt to send end after a second, which one to a receiver that responds may need on a busy machine.
func (s *Sinks) ShortAttempts() {
	for _, k := range s.all {
		k.pace.attempt = time.Second
	}
}

// LongSettle has a connection of syslog count as alive only if it holds for a second: on a busy machine, a receiver may need
// that to die.
func (s *Sinks) LongSettle() {
	for _, k := range s.all {
		k.pace.settle = time.Second
	}
}

// Batches sets how many lines the sinks send at once.
func (s *Sinks) Batches(lines int) {
	for _, k := range s.all {
		k.limits.Lines = lines
	}
}

// BatchBytes sets how many bytes the sinks send at once.
func (s *Sinks) BatchBytes(bytes int) {
	for _, k := range s.all {
		k.limits.Bytes = bytes
	}
}

// TraceOf returns the id of the trace that the details of an event name.
var TraceOf = traceOf
