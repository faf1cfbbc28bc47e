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
		k.pace = pace{poll: 5 * time.Millisecond, first: 2 * time.Millisecond, most: 20 * time.Millisecond, attempt: time.Second, settle: 50 * time.Millisecond, stopping: 2 * time.Second}
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
