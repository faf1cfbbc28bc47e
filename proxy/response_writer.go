package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	denialTimeout = 5 * time.Second // for a client to take in that it was refused after a cut
	drainTimeout  = 5 * time.Second // for what is left of a body that nobody passes on
)

var errStopped = errors.New("the answer was cut off")

// responseWriter is the answer to one request. It can be stopped from outside at any moment, whatever the goroutine that
// writes it is waiting for.
type responseWriter struct {
	http.ResponseWriter
	control  *http.ResponseController
	http1    bool
	hasBody  bool          // the request's body may still be on its way
	closing  bool          // nothing more will be read from this HTTP/1 connection
	refusing bool          // what is written now is the door's own, and may follow a stop
	hurried  bool          // the rest of the body is waited for no longer than bodyWithin
	unsent   bool          // some of the body may wait in a buffer
	stall    time.Duration // how long the client may take to take in a piece of it
	hsts     string        // Strict-Transport-Security; "" for none of ours

	frames atomic.Pointer[frameTracker] // to the client of a socket

	mu      sync.Mutex // guards what follows
	code    int        // of the answer; 0 before it
	early   bool       // an answer before it is being written
	stopped bool
	taken   []io.Closer // the client's connection and the upstream's, once they are ours

	outside sync.Mutex // held while control is used by another goroutine than the request's; guards over
	over    bool       // the request is, and control must not be used again
}

func newResponseWriter(w http.ResponseWriter, r *http.Request, stall time.Duration) *responseWriter {
	hasBody := r.Body != nil && r.Body != http.NoBody
	// A request that carried Content-Length beside Transfer-Encoding looks like any chunked one by now, and must be
	// the last on its connection (RFC 9112 §6.1). Streams of unknown length are the others, and rarely share one. So
	// must one of HTTP/1.0, whose Transfer-Encoding net/http passes over.
	http1 := r.ProtoMajor == 1
	reply := &responseWriter{ResponseWriter: w, control: http.NewResponseController(w), http1: http1, hasBody: hasBody, stall: stall,
		closing: http1 && (r.ProtoMinor == 0 || len(r.TransferEncoding) > 0 || r.Method == http.MethodConnect)}
	if http1 {
		_ = reply.control.SetWriteDeadline(time.Time{}) // what the answer before was given
	}
	return reply
}

// limitDrain gives the client a while, and no more, to take in what is left of the answer and to send what is left of its
// body. net/http waits for both after the request, for ever. Over HTTP/2 it does not wait for the body, and drain sees
// to the answer: a deadline there is a timer that keeps a connection in memory which was torn down.
func (w *responseWriter) limitDrain() {
	if !w.http1 {
		return
	}
	now := time.Now()
	_ = w.control.SetWriteDeadline(now.Add(drainTimeout + w.stall)) // net/http waits for the body first
	if w.hasBody && !w.hurried {
		w.hurried = true
		_ = w.control.SetReadDeadline(now.Add(drainTimeout))
	}
}

// closeIfBodyUnread says that an answer begins that does not wait for what is left of the request's body; read, which may be nil,
// is what it was read by. It is the last on its connection then: net/http would wait for the rest first, and a client
// that asked whether to send it (RFC 9110 §10.1.1) for the answer.
func (w *responseWriter) closeIfBodyUnread(read *requestBody) {
	whole := read != nil && read.whole.Load()
	w.closing = w.closing || w.http1 && w.hasBody && !whole
}

// Unwrap lets an http.ResponseController reach what this does not do itself.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader begins the answer, unless it was stopped before.
func (w *responseWriter) WriteHeader(code int) {
	if code >= 200 && !w.begin(code) {
		return
	}
	if w.closing && code >= 200 {
		w.Header().Set("Connection", "close")
	}
	w.setHSTS(w.Header())
	if code < 200 {
		w.writeInformational(code)
		return
	}
	w.ResponseWriter.WriteHeader(code)
}

// setHSTS says how browsers are to come, in place of the upstream, whose word would setHSTS every host of its name.
func (w *responseWriter) setHSTS(h http.Header) {
	if w.hsts != "" {
		h["Strict-Transport-Security"] = []string{w.hsts}
	}
}

// writeInformational sends an answer that comes before the answer, and can be stopped meanwhile.
func (w *responseWriter) writeInformational(code int) {
	defer time.AfterFunc(w.stall, w.stop).Stop()
	defer w.setEarly(false)
	if stopped := w.setEarly(true); stopped {
		return
	}
	w.Header().Del("Set-Cookie")
	w.ResponseWriter.WriteHeader(code)
}

func (w *responseWriter) setEarly(early bool) (stopped bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.early = early
	return w.stopped
}

// begin notes the code of the answer; false if there must be none.
func (w *responseWriter) begin(code int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped && !w.refusing {
		return false
	}
	if w.code == 0 {
		w.code = code
	}
	return true
}

// Write writes a piece of the answer's body.
func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status() == 0 {
		w.WriteHeader(http.StatusOK)
		if w.status() == 0 {
			return 0, errStopped
		}
	}
	defer time.AfterFunc(w.stall, w.stop).Stop()
	w.unsent = true
	return w.ResponseWriter.Write(p)
}

// flushPending sends what is left of an answer over HTTP/2 while it can still be stopped.
func (w *responseWriter) flushPending() {
	if !w.http1 && w.unsent {
		_ = w.flush()
	}
}

// flush sends what has been written so far.
func (w *responseWriter) flush() error {
	defer time.AfterFunc(w.stall, w.stop).Stop()
	w.unsent = false
	return w.control.Flush()
}

// hijack takes the client's connection away from net/http and sends a head over it. From then on, to stop is to
// close it, and the other one with it. It returns what the client has said already, too.
func (w *responseWriter) hijack(head *http.Response, other io.Closer) (client *frameTracker, early []byte, err error) {
	conn, rw, err := w.control.Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("taking over the client's connection: %w", err)
	}
	w.setHSTS(head.Header)
	client = &frameTracker{Conn: conn}
	client.mu.Lock() // until the head is out
	defer client.mu.Unlock()
	w.frames.Store(client)
	if !w.holds(rawConn(conn), other) {
		_ = conn.Close()
		return nil, nil, errStopped
	}
	early = make([]byte, rw.Reader.Buffered())
	_, err = io.ReadFull(rw, early)
	if err = errors.Join(err, head.Write(rw), rw.Flush()); err != nil {
		_ = conn.Close()
		return nil, nil, fmt.Errorf("%w: %w", errStopped, err)
	}
	w.ResponseWriter, w.control = nil, nil // and the memory behind them
	return client, early, nil
}

// holds remembers what to close; false if the answer was stopped.
func (w *responseWriter) holds(closers ...io.Closer) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.code = http.StatusSwitchingProtocols
	if !w.stopped {
		w.taken = closers
	}
	return !w.stopped
}

// isHijacked says whether the connection was taken over.
func (w *responseWriter) isHijacked() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.taken != nil
}

// rawConn is the connection under TLS, which closes without a farewell that somebody might have to wait for.
func rawConn(conn net.Conn) net.Conn {
	if secure, ok := conn.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return conn
}

// status is the code of the answer, or 0 while there is none.
func (w *responseWriter) status() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.code
}

// halfClose tells the client of a socket that it is over, as fast as can be told: to close a connection takes the
// goroutine that reads from it, and thousands may have to be closed.
func (w *responseWriter) halfClose() {
	w.mu.Lock()
	taken := w.taken
	w.mu.Unlock()
	if taken != nil {
		_ = closeWrite(taken[0])
	}
}

// stop ends the answer now. Whoever waits for the client, to take in what is written or to send more of a body,
// waits no longer.
func (w *responseWriter) stop() {
	w.mu.Lock()
	taken, begun, early := w.taken, w.code != 0, w.early
	w.stopped = true
	w.mu.Unlock()
	if taken != nil {
		for _, conn := range taken {
			_ = conn.Close()
		}
		return
	}
	if w.hasBody {
		w.expireDeadline(w.control.SetReadDeadline)
	}
	if (begun || early) && w.expireDeadline(w.control.SetWriteDeadline) && w.http1 && begun {
		go w.keepExpired()
	}
}

// expireDeadline lets a deadline pass at once, unless the request is over.
func (w *responseWriter) expireDeadline(setDeadline func(time.Time) error) bool {
	w.outside.Lock()
	defer w.outside.Unlock()
	if !w.over {
		_ = setDeadline(time.Unix(1, 0))
	}
	return !w.over
}

// stopReading ends whatever waits for more of the request's body.
func (w *responseWriter) stopReading() { w.expireDeadline(w.control.SetReadDeadline) }

// keepExpired keeps the time of the connection run out. When a write fails, net/http closes the connection, and
// crypto/tls then gives a client that reads nothing five seconds to take in its farewell.
func (w *responseWriter) keepExpired() {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for w.expireDeadline(w.control.SetWriteDeadline) {
		<-again.C
	}
}

// release says that the request is over. It returns whether its answer was stopped. Then net/http, which looks for the
// end of the body before it tears the connection down, waits for none.
func (w *responseWriter) release() (stopped bool) {
	w.outside.Lock()
	defer w.outside.Unlock()
	w.over = true
	w.mu.Lock()
	stopped = w.stopped
	w.mu.Unlock()
	switch {
	case w.control == nil:
	case stopped && !w.refusing && w.hasBody && w.http1:
		_ = w.control.SetReadDeadline(time.Unix(1, 0))
	default:
		w.limitDrain()
	}
	return stopped
}

// startDenial makes w ready for the door's own answer, in place of one that has not begun. False if it has.
func (w *responseWriter) startDenial() bool {
	w.mu.Lock()
	begun, stopped := w.code != 0, w.stopped
	w.mu.Unlock()
	if begun {
		return false
	}
	clear(w.Header())
	w.refusing = true
	w.closeIfBodyUnread(nil)
	w.limitDrain()
	if stopped {
		_ = w.control.SetWriteDeadline(time.Now().Add(denialTimeout))
	}
	return true
}
