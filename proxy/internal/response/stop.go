package response

import (
	"io"
	"time"
)

// expired is a deadline that has passed.
var expired = time.Unix(1, 0)

// Stop ends the response. Whoever waits for the client, to receive what is written or to send more of its body, stops
// waiting. by is the cause that [Writer.StopCause] returns; the first one counts.
func (w *Writer) Stop(by Cause) {
	w.mu.Lock()
	switch w.state {
	case stateOpen, stateInformational, stateResponding:
		w.interrupt(by)
	case stateHijacked:
		w.state, w.stoppedBy = stateClosed, by
		client, upstream := w.client, w.upstream
		w.mu.Unlock()
		_, _ = rawConn(client.Conn).Close(), upstream.Close()
		return
	}
	w.mu.Unlock()
}

// writeStalled ends a write that the client did not receive in time. It ends a denial too.
func (w *Writer) writeStalled() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.state {
	case stateInformational, stateResponding, stateDenied:
		w.interrupt(ByStall)
	}
}

// interrupt ends the reads and writes that are under way. mu is held.
func (w *Writer) interrupt(by Cause) {
	if w.HasBody {
		_ = w.control.SetReadDeadline(expired)
	}
	switch from := w.state; from {
	case stateOpen, stateInformational:
		w.state = stateStopped
		if from == stateInformational {
			_ = w.control.SetWriteDeadline(expired)
		}
	default:
		w.state = stateAborted
		_ = w.control.SetWriteDeadline(expired)
		if w.HTTP1 {
			go w.keepExpired()
		}
	}
	w.stoppedBy = by
}

// keepExpired keeps the write deadline in the past until the request is released. When a write fails, net/http closes
// the connection, and tls.Conn.Close would give a client that reads nothing five seconds to receive an alert.
func (w *Writer) keepExpired() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for w.expireWrites() {
		<-tick.C
	}
}

// expireWrites sets the write deadline of an aborted response to the past, and reports whether w is still in that state.
func (w *Writer) expireWrites() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state != stateAborted {
		return false
	}
	_ = w.control.SetWriteDeadline(expired)
	return true
}

// StopCause returns what stopped the response, or "" if nothing did.
func (w *Writer) StopCause() Cause {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stoppedBy
}

// readGrace is how long a read of the request body may go on that nobody waits for. If it ends by itself, the rest of a
// chunked body can still be read.
const readGrace = 50 * time.Millisecond

// stopReading ends a read of the request body that is under way.
func (w *Writer) stopReading() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.state {
	case stateHijacked, stateClosed, stateReleased:
	case stateStopped, stateAborted:
		_ = w.control.SetReadDeadline(expired)
	default:
		_ = w.control.SetReadDeadline(time.Now().Add(readGrace))
	}
}

// DiscardBody says, before any event, that the connection is closed after the response and the body is not read.
func (w *Writer) DiscardBody() {
	w.lastOnConn = true
	if w.HasBody {
		w.drainBy = expired
		_ = w.control.SetReadDeadline(w.drainBy)
	}
}

// CloseIfBodyUnread closes the connection after the response if the client may not have sent all of its body. net/http
// would otherwise read the rest before it sends the response, and a client that waits for 100 Continue (RFC 9110
// §10.1.1) would wait for the response in turn. read is the body as it was read; nil: it was not.
// It reports whether it does.
func (w *Writer) CloseIfBodyUnread(read *Body) bool {
	unread := w.HTTP1 && w.HasBody && (read == nil || !read.complete.Load())
	if unread {
		w.Header().Set("Connection", "close")
	}
	return unread
}

// LimitDrain bounds how long the client may take to receive the response and to send the rest of its body. net/http
// waits for both without a bound. HTTP/2 needs no bound here: net/http does not wait for the body there, FlushPending
// bounds the response, and a deadline would keep a closed connection in memory until it passes.
func (w *Writer) LimitDrain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.setDrainDeadlines()
}

// LimitBody bounds how long the client may take to send its body where a denial reads it.
func (w *Writer) LimitBody(timeout time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drainBy = time.Now().Add(timeout)
	_ = w.control.SetReadDeadline(w.drainBy)
	if w.HTTP1 {
		_ = w.control.SetWriteDeadline(w.drainBy.Add(w.Stall))
	}
}

func (w *Writer) setDrainDeadlines() {
	if !w.HTTP1 {
		return
	}
	now := time.Now()
	_ = w.control.SetWriteDeadline(now.Add(DrainTimeout + w.Stall)) // net/http waits for the body first
	if w.HasBody && w.drainBy.IsZero() {
		w.drainBy = now.Add(DrainTimeout)
		_ = w.control.SetReadDeadline(w.drainBy)
	}
}

// Linger discards the rest of the request body, for DrainTimeout at most, if the client can tell that the response is
// complete. Closing a connection with unread bytes resets it, and a client that sends all of its body before it reads
// anything would lose the response (RFC 9112 §9.6).
func (w *Writer) Linger(body io.Reader) {
	if w.startLinger() {
		_, _ = io.Copy(io.Discard, body)
	}
}

// startLinger sends the response and bounds the wait for the rest of the body. It reports false if that is not possible.
func (w *Writer) startLinger() bool {
	if !w.HTTP1 || !w.HasBody || !w.isWhole() || w.Flush() != nil {
		return false
	}
	w.LimitDrain()
	return true
}

// isWhole reports whether nothing follows the response that was written: it has a Content-Length.
func (w *Writer) isWhole() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return (w.state == stateResponding || w.state == stateDenied) && len(w.Header()["Content-Length"]) == 1
}

// Release ends the use of the connection by this request. It reports whether the caller must panic with
// [http.ErrAbortHandler]: there is no response, or it was cut short and must not look complete.
func (w *Writer) Release() (abort bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.state {
	case stateHijacked, stateClosed:
		return false
	case stateStopped, stateAborted:
		abort = true
		if w.HTTP1 {
			_ = w.control.SetWriteDeadline(expired) // net/http flushes its buffer before it closes the connection
		}
		if w.HTTP1 && w.HasBody {
			_ = w.control.SetReadDeadline(expired) // and reads to the end of the body
		}
	default:
		abort = w.code == 0
		w.setDrainDeadlines()
	}
	w.state = stateReleased
	return abort
}
