package response

import "sync/atomic"

// Traffic counts the bytes of one request: those of its body and its response or, in a tunnel, all of them. A nil *Traffic
// counts nothing.
type Traffic struct{ received, sent atomic.Int64 }

// Bytes returns how many bytes came from the client so far, and how many went to it.
func (t *Traffic) Bytes() (received, sent int64) { return t.received.Load(), t.sent.Load() }

func (t *Traffic) receive(n int) {
	if t != nil {
		t.received.Add(int64(n))
	}
}

func (t *Traffic) send(n int) {
	if t != nil {
		t.sent.Add(int64(n))
	}
}
