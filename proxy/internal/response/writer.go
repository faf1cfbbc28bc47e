// Package response writes the response to one request, and can stop it at any time: whatever the goroutine that writes is
// waiting for, it waits no longer, and a response that was cut short never looks complete.
//
// [Writer] is a state machine; its states and transitions are written at responseState. It relies on net/http's server:
// on the deadlines of [http.ResponseController], and on [http.ErrAbortHandler].
package response

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// DrainTimeout bounds how long the client may take to send the rest of a body that is not read.
	DrainTimeout = 5 * time.Second

	denialTimeout = 5 * time.Second // for the client to read a denial after its request was stopped

	// How many bytes of a body net/http buffers before it sends any. A write that leaves no more than that unsent does not wait
	// for the client.
	serverBuffer1 = 2 << 10 // over HTTP/1
	serverBuffer2 = 4 << 10 // over HTTP/2
)

// ErrStopped means that the response was stopped, or has ended.
var ErrStopped = errors.New("the response was stopped")

// responseState says how far a response has come. [Writer] is the state machine:
//
//	open           no response has begun
//	informational  a 1xx response is being written; the final response has not begun
//	responding     the final response has begun
//	hijacked       the connection is a tunnel, no longer net/http's
//	stopped        stopped before the final response began; only a denial may follow
//	denying        a denial will be the response; it has not begun
//	denied         the denial has begun
//	aborted        stopped after the response began, which must not look complete
//	closed         the tunnel was closed
//	released       the handler has returned; the connection is net/http's again
//
// The events, the states in which they have an effect, and what they do in all others:
//
//	WriteHeader(1xx)           open → informational → open                 nothing
//	WriteHeader(final), Write  open → responding, denying → denied         Write goes on in responding and denied, else ErrStopped
//	BeginTunnel                open → hijacked                             ErrStopped
//	Stop                       open, informational → stopped,              nothing: a denial has a deadline of its own
//	                           responding → aborted, hijacked → closed
//	a write stalls             informational → stopped,                    nothing
//	                           responding, denied → aborted
//	StartDenial                open, stopped → denying                     false
//	Release                    all but hijacked and closed → released      nothing
//
// So there is one final response at most, and after a stop nothing is written but a denial. Release tells the caller to
// tear down the connection if the response is missing or was cut short.
type responseState uint8

const (
	stateOpen responseState = iota
	stateInformational
	stateResponding
	stateHijacked
	stateStopped
	stateDenying
	stateDenied
	stateAborted
	stateClosed
	stateReleased
)

// Writer writes the response to one request. Another goroutine may stop it at any time, whatever the goroutine
// that writes is waiting for.
type Writer struct {
	http.ResponseWriter
	control http.ResponseController

	// Facts of the request. They are set before the first event and do not change.
	HTTP1      bool
	HasBody    bool          // the client may not have sent all of the body yet
	lastOnConn bool          // the connection is closed after the response; over HTTP/2, after those under way
	finalOnly  bool          // the client speaks HTTP/1.0, which has no informational responses
	Stall      time.Duration // how long the client may take to receive one write
	HSTS       string        // value of Strict-Transport-Security; "" for none

	stream  context.Context // of the request; it ends with the stream over HTTP/2
	Traffic Traffic         // of the request

	// Used by the goroutine of the request alone.
	unflushed int       // bytes written since the last flush
	drainBy   time.Time // the deadline for the rest of the request body; zero: none is set

	mu        sync.Mutex // guards what follows, and the deadlines that control sets
	state     responseState
	code      int       // of the final response; 0 before it has begun
	began     time.Time // when it began, unless it is a denial
	events    bool      // it is a stream of events
	stoppedBy Cause
	client    *FrameTracker // in hijacked and closed
	upstream  io.Closer     // likewise
}

// New returns the writer of the response to r. stall bounds how long the client may take to receive one write.
func New(w http.ResponseWriter, r *http.Request, stall time.Duration) *Writer {
	rw := &Writer{ResponseWriter: w, control: *http.NewResponseController(w), stream: r.Context(), HTTP1: r.ProtoMajor == 1,
		HasBody: r.Body != nil && r.Body != http.NoBody, Stall: stall}
	// A request with both Content-Length and Transfer-Encoding must be the last on its connection (RFC 9112 §6.1), and
	// so must one of HTTP/1.0, whose Transfer-Encoding net/http ignores. net/http has removed the Content-Length, so
	// every chunked request counts as such a request.
	rw.lastOnConn = rw.HTTP1 && (r.ProtoMinor == 0 || len(r.TransferEncoding) > 0 || r.Method == http.MethodConnect)
	rw.lastOnConn = rw.lastOnConn || len(w.Header()["Connection"]) > 0 // "close": the server hands over to another process
	rw.finalOnly = rw.HTTP1 && r.ProtoMinor == 0
	if rw.HTTP1 {
		_ = rw.control.SetWriteDeadline(time.Time{}) // the previous response on this connection had one
	}
	return rw
}

// WriteHeader begins the final response, or writes an informational one. It does nothing if the state does not allow it.
func (w *Writer) WriteHeader(code int) {
	if code < 200 {
		w.writeInformational(code)
		return
	}
	if !w.begin(code) {
		return
	}
	if w.lastOnConn {
		w.Header().Set("Connection", "close")
	}
	w.setHSTS(w.Header())
	w.ResponseWriter.WriteHeader(code)
}

// begin moves to the state in which the final response may be written, and reports whether there is one.
func (w *Writer) begin(code int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.state {
	case stateOpen:
		w.state, w.began, w.events = stateResponding, time.Now(), IsEvents(w.Header())
	case stateDenying:
		w.state = stateDenied
	default:
		return false
	}
	w.code = code
	return true
}

// setHSTS sets Strict-Transport-Security. It replaces the upstream's, which could bind other hosts of the domain too.
func (w *Writer) setHSTS(h http.Header) {
	if w.HSTS != "" {
		h["Strict-Transport-Security"] = []string{w.HSTS}
	}
}

// writeInformational writes a 1xx response. The goroutine that reads from the upstream may call it.
func (w *Writer) writeInformational(code int) {
	if w.finalOnly || !w.move(stateOpen, stateInformational) {
		return
	}
	defer w.move(stateInformational, stateOpen)
	defer time.AfterFunc(w.Stall, w.writeStalled).Stop()
	w.Header().Del("Set-Cookie")
	w.setHSTS(w.Header())
	w.ResponseWriter.WriteHeader(code)
}

// move changes the state if it is from, and reports whether it was.
func (w *Writer) move(from, to responseState) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state != from {
		return false
	}
	w.state = to
	return true
}

// Write writes a part of the body, and begins a response of 200 if none has begun.
func (w *Writer) Write(p []byte) (int, error) {
	if !w.writable() {
		return 0, ErrStopped
	}
	w.unflushed += len(p)
	if w.unflushed > w.serverBuffer() {
		defer time.AfterFunc(w.Stall, w.writeStalled).Stop()
	}
	n, err := w.ResponseWriter.Write(p)
	w.Traffic.send(n)
	return n, err
}

// Flush sends what was written so far, and begins a response of 200 if none has begun.
func (w *Writer) Flush() error {
	if !w.writable() {
		return ErrStopped
	}
	defer time.AfterFunc(w.Stall, w.writeStalled).Stop()
	w.unflushed = 0
	return w.control.Flush()
}

// FlushError is Flush, by the name under which [http.ResponseController] looks for it.
func (w *Writer) FlushError() error { return w.Flush() }

// writable reports whether the body may be written. If no response has begun, it begins one of 200 first.
func (w *Writer) writable() bool {
	switch w.currentState() {
	case stateOpen, stateDenying:
		w.WriteHeader(http.StatusOK)
	case stateResponding, stateDenied:
		return true
	}
	state := w.currentState()
	return state == stateResponding || state == stateDenied
}

func (w *Writer) currentState() responseState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

// FlushPending sends the rest of a response over HTTP/2 while Stop can still end it. For HTTP/1, Release sets a deadline.
// So does FlushPending for a rest that net/http buffers, which it then sends together with the end of the stream. There is
// none for a stream that has ended: it would keep the connection in memory until it passes.
func (w *Writer) FlushPending() {
	switch {
	case w.HTTP1 || w.unflushed == 0:
	case w.unflushed > w.serverBuffer():
		_ = w.Flush()
	case w.stream.Err() == nil:
		_ = w.control.SetWriteDeadline(time.Now().Add(w.Stall))
	}
}

func (w *Writer) serverBuffer() int {
	if w.HTTP1 {
		return serverBuffer1
	}
	return serverBuffer2
}

// Status returns the status code of the final response, or 0 if none has begun.
func (w *Writer) Status() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.code
}

// RespondingFor returns how long ago the final response began; 0 if it has not begun, or has ended.
func (w *Writer) RespondingFor() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state != stateResponding {
		return 0
	}
	return time.Since(w.began)
}

// IsStream reports whether the response is a stream of events, and whether it has become a tunnel.
func (w *Writer) IsStream() (events, tunnel bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.events, w.client != nil
}

// BeginTunnel takes the client's connection from net/http and writes the head of a 101 response to it. From then on stop
// closes that connection and the upstream's. What the client sent along with its request is read first.
func (w *Writer) BeginTunnel(head *http.Response, upstream io.Closer, uses Uses) (*FrameTracker, error) {
	client, rw, err := w.takeConn(upstream)
	if err != nil {
		return nil, err
	}
	defer client.mu.Unlock() // takeConn locked it: nothing else may be written before the head
	w.setHSTS(head.Header)
	client.uses, client.buffered = uses, make([]byte, rw.Reader.Buffered())
	_, err = io.ReadFull(rw, client.buffered)
	if err = errors.Join(err, head.Write(rw), rw.Flush()); err != nil {
		_ = client.Conn.Close()
		return nil, fmt.Errorf("%w: %w", ErrStopped, err)
	}
	return client, nil
}

// takeConn moves to hijacked. It returns the client with its mutex locked.
func (w *Writer) takeConn(upstream io.Closer) (*FrameTracker, *bufio.ReadWriter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state != stateOpen {
		return nil, nil, ErrStopped
	}
	conn, rw, err := w.control.Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("hijacking the client's connection: %w", err)
	}
	client := &FrameTracker{Conn: conn, traffic: &w.Traffic}
	client.mu.Lock()
	w.state, w.code, w.client, w.upstream = stateHijacked, http.StatusSwitchingProtocols, client, upstream
	w.ResponseWriter, w.control = nil, http.ResponseController{} // lets the memory behind them go
	return client, rw, nil
}

// Client returns the client's side of a tunnel, or nil if there is none.
func (w *Writer) Client() *FrameTracker {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.client
}

// HalfClose tells the client of a tunnel at once that the tunnel ends. Closing the connection has to wake the goroutine
// that reads from it, which takes longer where thousands are to be closed.
func (w *Writer) HalfClose() {
	if client := w.Client(); client != nil {
		_ = CloseWrite(rawConn(client.Conn))
	}
}

// rawConn returns the connection under TLS. Closing it waits for no TLS alert to be sent.
func rawConn(conn net.Conn) net.Conn {
	if tlsConn, ok := conn.(*tls.Conn); ok {
		return tlsConn.NetConn()
	}
	return conn
}

// StartDenial prepares w for a denial in place of the response, and reports whether no response has begun yet.
func (w *Writer) StartDenial() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	stopped := w.state == stateStopped
	if !stopped && w.state != stateOpen {
		return false
	}
	w.state = stateDenying
	clear(w.Header())
	w.CloseIfBodyUnread(nil)
	w.setDrainDeadlines()
	if stopped {
		_ = w.control.SetWriteDeadline(time.Now().Add(denialTimeout))
	}
	return true
}
