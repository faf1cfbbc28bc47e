package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/proxy/internal/upstream"
)

// requestBody is a request's, and remembers how reading it ended: if it failed, that was not the upstream's fault.
type requestBody struct {
	io.Reader
	whole, failed, closed atomic.Bool
	stallTimeout          time.Duration // for some more of it to come; 0: any
	onStall               func()        // called when it has not
	reading               sync.Mutex    // held while it is read
}

// Read reads on, unless it was closed.
func (b *requestBody) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	if b.stallTimeout > 0 {
		defer time.AfterFunc(b.stallTimeout, b.onStall).Stop()
	}
	n, err := b.Reader.Read(p)
	switch {
	case err == io.EOF:
		b.whole.Store(true)
	case err != nil:
		b.failed.Store(true)
	}
	return n, err
}

// Close says that no more of it is wanted, and waits for nothing: net/http's own body would read on to its end, which
// the client may never send.
func (b *requestBody) Close() error {
	b.closed.Store(true)
	return nil
}

// exchange is one request's way to the upstream and back.
type exchange struct {
	*request
	path  string // for the upstream
	proxy *Proxy
	live  *liveRequest
	reply *responseWriter
	body  *requestBody
	begun time.Time
}

// forward passes the request on and the answer back. It returns a refusal if the upstream gave no answer.
func (p *Proxy) forward(w *responseWriter, r *http.Request, live *liveRequest) *denial {
	way := &exchange{request: live.request, proxy: p, live: live, reply: w, begun: time.Now()}
	var denied *denial
	if way.path, denied = way.route.rewritePath(live.request); denied != nil {
		return denied
	}
	if r.Body != nil && r.Body != http.NoBody {
		way.body = &requestBody{Reader: r.Body} // r keeps its own: net/http looks at how far that was read
		if most := int64(way.route.maxBody); most > 0 {
			if r.ContentLength > most {
				return deny(bodyTooLarge, "")
			}
			way.body.Reader = http.MaxBytesReader(nil, r.Body, most) // not w: it is read while w is written to
		}
		if !isGRPC(r) {
			way.body.stallTimeout, way.body.onStall = w.stall, live.stop
		}
	}
	return way.forward(r)
}

// isGRPC says whether the body is a stream of calls, between which hours may pass.
func isGRPC(r *http.Request) bool {
	return r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}

// leaveBody returns when nobody reads the request's body any more, and nobody will. Over HTTP/1, a read that outlived
// its request would have net/http forget how long it may wait for the rest.
func (w *exchange) leaveBody() {
	_ = w.body.Close()
	if !w.reply.http1 {
		return
	}
	if !w.body.reading.TryLock() {
		w.reply.stopReading()
		w.body.reading.Lock()
	}
	w.body.reading.Unlock() // who reads on is told that it is closed
}

var errCut = errors.New("the request was cut")

// answered looks at the upstream's answer before the client sees any of it.
func (w *exchange) answered(res *http.Response) error {
	w.route.metrics.upstreamSeconds.Observe(time.Since(w.begun).Seconds())
	if w.live.cutBy() != nil {
		return errCut
	}
	if res.StatusCode < 100 {
		return fmt.Errorf("upstream answered with the status %d, which there is not", res.StatusCode)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		removeHopByHop(res.Header)
	}
	stripOurSetCookies(res.Header)
	w.route.responseEdits.apply(res.Header)
	if res.StatusCode == http.StatusSwitchingProtocols {
		if !acceptsWebSocket(res) {
			return errors.New("upstream switched to a protocol that nobody asked for")
		}
		return w.tunnel(res)
	}
	return nil
}

// failed says what to answer when the upstream did not.
func (w *exchange) failed(err error) *denial {
	var tooLarge *http.MaxBytesError
	switch cut := w.live.cutBy(); {
	case errors.Is(err, errTunneled):
		return nil
	case cut != nil:
		return cut
	case w.live.ctx.Err() != nil, errors.Is(err, errStopped):
		return deny(clientGone, "")
	case errors.As(err, &tooLarge):
		return deny(bodyTooLarge, "")
	case w.body != nil && w.body.failed.Load():
		return deny(badRequest, fmt.Sprintf("reading the request's body: %v", err))
	}
	reason := upstreamUnavailable
	if upstream.IsTimeout(err) || errors.Is(err, context.DeadlineExceeded) {
		reason = upstreamTimeout
	}
	w.route.metrics.countUpstreamError(reason)
	w.proxy.log.Warn("upstream gave no answer", "route", w.route.name, "err", err, "took", time.Since(w.begun))
	return deny(reason, err.Error())
}
