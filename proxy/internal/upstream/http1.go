package upstream

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"syscall"
	"time"

	"sallyport/proxy/internal/lifetime"
)

// settleTime is how long a connection is not used after a request with a body. A target may have responded without reading
// the body, which is then still in its receive buffer, and close the connection a little later.
const settleTime = 50 * time.Millisecond

// http1Transport speaks HTTP/1.1 to one target, on the goroutine of the request. net/http's transport has two more
// goroutines for each connection, and waking them is a third of the cost of forwarding a request; it drops a response if
// sending the body failed, and uses a connection again after a response that can be read in two ways.
type http1Transport struct {
	dialer  *dialer
	timeout time.Duration // until the header of the response is complete, from the end of the request

	mu      sync.Mutex // guards what follows
	idle    []*conn    // in order of use, the one used last is last
	reaper  *time.Timer
	retired bool // no connection is kept any more
}

func newHTTP1Transport(d *dialer, timeout time.Duration) *http1Transport {
	return &http1Transport{dialer: d, timeout: timeout}
}

// roundTrip sends r and reads the header of the response. If an idle connection turns out to be closed, roundTrip sends r
// once more over a new connection, provided that nothing was sent, or that nothing of a response had arrived and r is
// safe.
func (t *http1Transport) roundTrip(ctx *lifetime.Context, r *Request, now time.Time) (*http.Response, error) {
	if c := t.getIdle(now); c != nil {
		res, err := t.roundTripOn(ctx, c, r, now)
		again := !c.sent.Load() || !c.responded && r.isSafe() && !r.hasBody()
		if err == nil || !again || ctx.Err() != nil || IsTimeout(err) {
			return res, err
		}
	}
	netConn, err := t.dialer.http1(ctx, r.Upgrade)
	if err != nil {
		return nil, err
	}
	return t.roundTripOn(ctx, newConn(netConn), r, time.Now())
}

// roundTripOn sends r over c and reads the header of the response. On an error it closes c; c.responded then says
// whether any of a response had arrived.
func (t *http1Transport) roundTripOn(ctx *lifetime.Context, c *conn, r *Request, now time.Time) (*http.Response, error) {
	c.life = ctx
	ctx.Add(&c.end)
	res, reusable, err := c.roundTrip(r, now, t.timeout)
	if err != nil {
		ctx.Remove(&c.end)
		c.abort()
		clear(r.ResponseHeader)
		if ctxErr := ctx.Err(); ctxErr != nil {
			err = ctxErr
		}
		return nil, err
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		ctx.Remove(&c.end) // the connection outlives the request
		res.Body = newSwitchedConn(c)
		return res, nil
	}
	b, plain := res.Body.(*responseBody)
	if !plain {
		b = &responseBody{ReadCloser: res.Body}
	}
	b.transport, b.conn, b.reusable = t, c, reusable && !res.Close
	b.untilReset = c.body != nil && res.ContentLength < 0 && len(res.TransferEncoding) == 0
	if res.Body == http.NoBody {
		b.finish(true)
		return res, nil
	}
	res.Body = b
	return res, nil
}

// responseBody is the body of a response. When it was read to its end, its connection becomes idle.
type responseBody struct {
	io.ReadCloser // nil: the next left bytes of the connection are the body
	left          int64
	transport     *http1Transport
	conn          *conn
	reusable      bool
	finished      bool

	// The body ends where the target closes the connection. If the target did not read the request's body, its system
	// resets the connection then.
	untilReset bool
}

// Read reads the body. At the end of the body it returns the connection to the pool.
func (b *responseBody) Read(p []byte) (int, error) {
	if b.finished {
		return 0, io.EOF
	}
	n, err := b.read(p)
	if b.untilReset && errors.Is(err, syscall.ECONNRESET) {
		err = io.EOF
	}
	if err != nil {
		b.finish(err == io.EOF) //nolint:errorlint // a wrapped EOF is not the end of a body
	}
	return n, err
}

func (b *responseBody) read(p []byte) (n int, err error) {
	if b.ReadCloser != nil {
		return b.ReadCloser.Read(p)
	}
	n, err = b.conn.in.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	switch {
	case b.left == 0:
		err = io.EOF
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close closes the connection, unless the body was read to its end.
func (b *responseBody) Close() error {
	b.finish(false)
	return nil
}

func (b *responseBody) finish(complete bool) {
	if b.finished {
		return
	}
	b.finished = true
	if !complete || !b.reusable || b.conn.in.Buffered() > 0 {
		b.release(false)
		return
	}
	if b.conn.body != nil {
		b.conn.body.then(b.release)
		return
	}
	b.release(true)
}

// release returns the connection to the pool if it may be used again, and otherwise closes it.
func (b *responseBody) release(reusable bool) {
	switch {
	case !b.conn.life.Remove(&b.conn.end) || !reusable:
		b.conn.abort()
	case b.conn.body != nil:
		time.AfterFunc(settleTime, func() { b.transport.putIdle(b.conn, time.Now()) })
	default:
		b.transport.putIdle(b.conn, time.Now())
	}
}

// getIdle returns an idle connection that can still be used, or nil.
func (t *http1Transport) getIdle(now time.Time) *conn {
	for {
		t.mu.Lock()
		last := len(t.idle) - 1
		if last < 0 {
			t.mu.Unlock()
			return nil
		}
		c := t.idle[last]
		t.idle[last] = nil
		t.idle = t.idle[:last]
		t.mu.Unlock()
		if now.Sub(c.idleSince) < idleTimeout && c.isIdle() {
			return c
		}
		_ = c.Close()
	}
}

// putIdle keeps a connection for the next request, or closes it if enough are idle.
func (t *http1Transport) putIdle(c *conn, now time.Time) {
	c.idleSince, c.life = now, nil
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.retired || len(t.idle) >= maxIdleConns {
		_ = c.Close()
		return
	}
	t.idle = append(t.idle, c)
	if t.reaper == nil {
		t.reaper = time.AfterFunc(idleTimeout, func() { t.reap(time.Now()) })
	}
}

// reap closes the connections that were idle for too long. It runs again as long as any is idle.
func (t *http1Transport) reap(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := 0
	for old < len(t.idle) && now.Sub(t.idle[old].idleSince) >= idleTimeout {
		_ = t.idle[old].Close()
		old++
	}
	t.idle = append([]*conn(nil), t.idle[old:]...)
	if t.reaper = nil; len(t.idle) > 0 {
		t.reaper = time.AfterFunc(idleTimeout, func() { t.reap(time.Now()) })
	}
}

// retire closes all idle connections, and has those in use closed after their request.
func (t *http1Transport) retire() {
	t.mu.Lock()
	t.retired = true
	t.mu.Unlock()
	t.CloseIdleConnections()
}

// CloseIdleConnections closes all idle connections.
func (t *http1Transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.idle {
		_ = c.Close()
	}
	t.idle = nil
}
