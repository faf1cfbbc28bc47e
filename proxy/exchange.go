package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sallyport/proxy/internal/header"
	"sallyport/proxy/internal/response"
	"sallyport/proxy/internal/trace"
	"sallyport/proxy/internal/upstream"
	"sallyport/session"
)

// exchange is one request to the upstream and its response.
type exchange struct {
	*request
	proxy *Proxy
	live  *liveRequest
	rw    *response.Writer
	body  *response.Body // nil: there is none
	use   session.Use    // of the caller's session
	uses  response.Uses  // what counts as that
	call  *trace.Call
	by    response.Cause // the side that ended it

	out      upstream.Request
	brought  http.Header // of the client, as far as it is forwarded
	identity http.Header // says who is calling

	begun     time.Time
	responded time.Duration // from begun to the headers of the response
	events    bool          // the response is a stream of events for a page
	unbounded bool          // the length of the response is not known
}

// forward sends the request to the upstream and the response to the client. It returns a denial if there is no response
// from the upstream.
func (p *Proxy) forward(w *response.Writer, r *http.Request, live *liveRequest) *denial {
	ex := p.pools.exchanges.Get().(*exchange)
	ex.request, ex.proxy, ex.live, ex.rw, ex.begun, ex.by = live.request, p, live, w, time.Now(), response.ByError
	denied := ex.forward(r)
	if ex.isReusable() {
		*ex = exchange{}
		p.pools.exchanges.Put(ex)
	}
	return denied
}

// isReusable reports whether nothing uses the exchange any more, after the handler is done with it. A request body may still
// be read, and a tunnel goes on, whose connection counts uses. An exchange that panicked is not used again either.
func (ex *exchange) isReusable() bool {
	return ex.body == nil && !ex.out.Upgrade && !ex.live.tunneled && ex.out.IsReusable()
}

// forward is [Proxy.forward] of one exchange.
func (ex *exchange) forward(r *http.Request) (denied *denial) {
	if ex.out.Path, denied = ex.route.rewritePath(ex.request); denied != nil {
		return denied
	}
	ex.setUses()
	if r.Body != nil && r.Body != http.NoBody {
		if r, denied = ex.proxy.resumeForm(ex.rw, r, ex.live); denied != nil {
			return denied
		}
		if denied = ex.setBody(r); denied != nil {
			return denied
		}
	}
	defer ex.end()
	return ex.roundTrip(r)
}

// setBody sets the body of the exchange to that of r, with what bounds it.
func (ex *exchange) setBody(r *http.Request) *denial {
	ex.body = &response.Body{Reader: r.Body, Uses: ex.uses, Traffic: &ex.rw.Traffic} // r keeps its own body: net/http checks how far that was read
	if limit := int64(ex.route.maxBody); limit > 0 {
		if r.ContentLength > limit {
			return deny(bodyTooLarge, "")
		}
		ex.body.Reader = http.MaxBytesReader(nil, r.Body, limit) // without the writer, which is written to at the same time
	}
	if !isGRPC(r) {
		ex.body.StallTimeout, ex.body.Pace, ex.body.OnStall = ex.rw.Stall, ex.pace(), ex.live.stop
	}
	return nil
}

// pace returns how fast the body must arrive: if nobody is signed in, at limits.min_body_rate.
func (req *request) pace() response.Pace {
	if req.caller != nil {
		return response.Pace{}
	}
	return req.routing.pace
}

// end reports the end of the exchange, unless it goes on as a tunnel.
func (ex *exchange) end() {
	if ex.live.tunneled {
		return
	}
	ex.reportEnd(ex.by)
}

// setUses sets what counts as use of the session that the request came with.
func (ex *exchange) setUses() {
	if ex.caller == nil || ex.caller.session == nil {
		return
	}
	ex.use = ex.proxy.sessions.Use(ex.caller.session.ID)
	ex.uses = response.Uses{Session: &ex.use, Pings: ex.route.countPings,
		EngineIO: strings.HasPrefix(ex.query, "?EIO=") || strings.Contains(ex.query, "&EIO=")}
}

// isGRPC reports whether the body is a stream of gRPC messages, between which hours may pass.
func isGRPC(r *http.Request) bool {
	return r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}

var errCut = errors.New("the request was cut")

// checkResponse prepares the upstream's response for the client, or returns an error if the client must not see it.
func (ex *exchange) checkResponse(res *http.Response) error {
	ex.responded = time.Since(ex.begun)
	ex.route.metrics.Responded(ex.responded, ex.trace.Exemplar())
	ex.call.Responded(res.StatusCode)
	ex.unbounded = res.ContentLength < 0 && res.Body != http.NoBody
	ex.events = ex.unbounded && response.IsEvents(res.Header)
	if ex.live.cutBy() != nil {
		return errCut
	}
	if res.StatusCode < 100 {
		return fmt.Errorf("the upstream sent the invalid status %d", res.StatusCode)
	}
	if res.StatusCode == http.StatusNoContent {
		delete(res.Header, "Content-Length") // a reader could wait for content (RFC 9110 §8.6)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		ex.routing.stripped.StripIdentities(res.Header)
	} else {
		ex.routing.stripped.Strip(res.Header)
	}
	if len(res.Trailer) > 0 {
		ex.routing.stripped.StripIdentities(res.Trailer) // the names of those that will come
		header.CleanTrailer(res.Trailer)
	}
	ex.route.responseEdits.Apply(res.Header)
	if res.StatusCode == http.StatusSwitchingProtocols {
		if !header.AcceptsWebSocket(res, ex.brought) {
			return errors.New("the upstream switched to a protocol that the request did not ask for")
		}
		return ex.tunnel(res)
	}
	return nil
}

// fail returns the denial for an exchange without a response, and notes who ended the exchange.
func (ex *exchange) fail(err error) (denied *denial) {
	defer func() {
		if denied != nil {
			ex.call.Failed(string(denied.reason))
		}
	}()
	var tooLarge *http.MaxBytesError
	switch cut := ex.live.cutBy(); {
	case errors.Is(err, errTunneled):
		return nil
	case cut != nil:
		return cut
	case ex.rw.StopCause() == response.BySlow, ex.rw.StopCause() == response.ByStall:
		return deny(bodyTooSlow, "")
	case ex.live.ctx.Err() != nil, errors.Is(err, response.ErrStopped):
		ex.by = response.ByClient
		return deny(clientGone, "")
	case errors.As(err, &tooLarge):
		return deny(bodyTooLarge, "")
	case ex.body != nil && ex.body.Failed():
		ex.by = response.ByClient
		return deny(badRequest, fmt.Sprintf("reading the request body: %v", err))
	}
	reason := upstreamUnavailable
	switch {
	case upstream.IsExhausted(err):
		reason = overloaded
	case errors.Is(err, upstream.ErrInformational):
		reason, ex.by = informationalFlood, response.ByUpstream
	case upstream.IsTimeout(err), errors.Is(err, context.DeadlineExceeded):
		reason = upstreamTimeout
	default:
		ex.by = response.ByUpstream
	}
	ex.route.metrics.UpstreamFailed(string(reason))
	ex.proxy.logOf(ex.request).Warn("no response from the upstream", "route", ex.route.name, "reason", reason, "err", err, "took", time.Since(ex.begun))
	return deny(reason, err.Error())
}
