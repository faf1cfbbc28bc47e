package response

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Body is the body of a request. It remembers how reading it ended: a failure is not the upstream's fault.
type Body struct {
	io.Reader
	complete, failed, closed atomic.Bool
	reading                  sync.Mutex // held during a read
	Traffic                  *Traffic   // counts what is read; may be nil
	Uses                     Uses

	StallTimeout time.Duration // for one read; 0: none
	Pace         Pace          // the zero value: none
	OnStall      func(Cause)   // called when a read takes longer, with ByStall, or when the body is slower, with BySlow

	overdue time.Duration // how far the client is behind the pace; used during a read
}

// Pace is how fast a body must arrive. It may be slower for a while, and fall behind as much as it would take to wait for
// Tolerance.
type Pace struct {
	BytesPerSecond int
	Tolerance      time.Duration
}

// Read reads the body, unless it was closed.
func (b *Body) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	if timeout, cause := b.timeout(); timeout > 0 {
		defer time.AfterFunc(timeout, func() { b.OnStall(cause) }).Stop()
	}
	begun := time.Now()
	n, err := b.Reader.Read(p)
	if rate := b.Pace.BytesPerSecond; rate > 0 { // only the time of reads counts: otherwise it is the client that waits
		b.overdue = max(0, b.overdue+time.Since(begun)-time.Duration(n)*time.Second/time.Duration(rate))
	}
	b.Traffic.receive(n)
	b.Uses.note(n > 0)
	switch {
	case err == io.EOF:
		b.complete.Store(true)
	case err != nil:
		b.failed.Store(true)
	}
	return n, err
}

// timeout returns how long the next read may take, and why no longer; 0 if it may take any time.
func (b *Body) timeout() (time.Duration, Cause) {
	if b.Pace.BytesPerSecond == 0 {
		return b.StallTimeout, ByStall
	}
	slow := max(1, b.Pace.Tolerance-b.overdue)
	if b.StallTimeout > 0 && b.StallTimeout < slow {
		return b.StallTimeout, ByStall
	}
	return slow, BySlow
}

// Close makes further reads fail. It does not wait: the body of net/http would read on to its end, which the client may
// never send.
func (b *Body) Close() error {
	b.closed.Store(true)
	return nil
}

// Failed reports whether reading the body failed.
func (b *Body) Failed() bool { return b.failed.Load() }

// CloseFor closes the body and returns when nothing reads it any more, and nothing will. Over HTTP/1, a read that outlives
// its request would make net/http forget the deadline for the rest of the body.
func (b *Body) CloseFor(w *Writer) {
	_ = b.Close()
	if !w.HTTP1 {
		return
	}
	if !b.reading.TryLock() {
		if !w.startLinger() { // which lets the read that is under way have what the client still sends
			w.stopReading()
		}
		b.reading.Lock()
	}
	b.reading.Unlock()
}
