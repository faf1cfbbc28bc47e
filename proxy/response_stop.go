package proxy

import "time"

// expired is a deadline that has passed.
var expired = time.Unix(1, 0)

// stop ends the response. Whoever waits for the client, to receive what is written or to send more of its body, stops
// waiting. by is the cause that [responseWriter.stopCause] returns; the first one counts.
func (w *responseWriter) stop(by endedBy) {
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
func (w *responseWriter) writeStalled() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.state {
	case stateInformational, stateResponding, stateDenied:
		w.interrupt(byStall)
	}
}

// interrupt ends the reads and writes that are under way. mu is held.
func (w *responseWriter) interrupt(by endedBy) {
	if w.hasBody {
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
		if w.http1 {
			go w.keepExpired()
		}
	}
	w.stoppedBy = by
}

// keepExpired keeps the write deadline in the past until the request is released. When a write fails, net/http closes
// the connection, and tls.Conn.Close would give a client that reads nothing five seconds to receive an alert.
func (w *responseWriter) keepExpired() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for w.expireWrites() {
		<-tick.C
	}
}

// expireWrites sets the write deadline of an aborted response to the past, and reports whether w is still in that state.
func (w *responseWriter) expireWrites() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state != stateAborted {
		return false
	}
	_ = w.control.SetWriteDeadline(expired)
	return true
}

// stopCause returns what stopped the response, or "" if nothing did.
func (w *responseWriter) stopCause() endedBy {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stoppedBy
}

// stopReading ends a read of the request body that is under way.
func (w *responseWriter) stopReading() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.state {
	case stateHijacked, stateClosed, stateReleased:
	default:
		_ = w.control.SetReadDeadline(expired)
	}
}

// discardBody says, before any event, that the connection is closed after the response and the body is not read.
func (w *responseWriter) discardBody() {
	w.lastOnConn = true
	if w.hasBody {
		w.drainBy = expired
		_ = w.control.SetReadDeadline(w.drainBy)
	}
}

// closeIfBodyUnread closes the connection after the response if the client may not have sent all of its body. net/http
// would otherwise read the rest before it sends the response, and a client that waits for 100 Continue (RFC 9110
// §10.1.1) would wait for the response in turn. read is the body as it was read; nil: it was not.
func (w *responseWriter) closeIfBodyUnread(read *requestBody) {
	if w.http1 && w.hasBody && (read == nil || !read.complete.Load()) {
		w.Header().Set("Connection", "close")
	}
}

// limitDrain bounds how long the client may take to receive the response and to send the rest of its body. net/http
// waits for both without a bound. HTTP/2 needs no bound here: net/http does not wait for the body there, flushPending
// bounds the response, and a deadline would keep a closed connection in memory until it passes.
func (w *responseWriter) limitDrain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.setDrainDeadlines()
}

func (w *responseWriter) setDrainDeadlines() {
	if !w.http1 {
		return
	}
	now := time.Now()
	_ = w.control.SetWriteDeadline(now.Add(drainTimeout + w.stall)) // net/http waits for the body first
	if w.hasBody && w.drainBy.IsZero() {
		w.drainBy = now.Add(drainTimeout)
		_ = w.control.SetReadDeadline(w.drainBy)
	}
}

// release ends the use of the connection by this request. It reports whether the caller must panic with
// [http.ErrAbortHandler]: there is no response, or it was cut short and must not look complete.
func (w *responseWriter) release() (abort bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.state {
	case stateHijacked, stateClosed:
		return false
	case stateStopped, stateAborted:
		abort = true
		if w.http1 {
			_ = w.control.SetWriteDeadline(expired) // net/http flushes its buffer before it closes the connection
		}
		if w.http1 && w.hasBody {
			_ = w.control.SetReadDeadline(expired) // and reads to the end of the body
		}
	default:
		abort = w.code == 0
		w.setDrainDeadlines()
	}
	w.state = stateReleased
	return abort
}
