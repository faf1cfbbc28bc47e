package proxy

import (
	"context"
	"log/slog"
	"time"

	"sallyport/audit"
	"sallyport/proxy/internal/response"
)

// longLived is how long an exchange must have lasted to be reported as a live connection that ended.
const longLived = time.Second

// reportEnd counts and logs the end of a tunnel, stream, upload or slow request that lasted longer than longLived. by is
// the side whose end was seen first.
func (ex *exchange) reportEnd(by response.Cause) {
	took := time.Since(ex.begun)
	ex.measureStream(took)
	if took < longLived {
		return
	}
	switch cause := ex.rw.StopCause(); {
	case cause != "":
		by = cause
	case ex.live.cutBy() != nil:
		by = response.ByCut
	case by == response.ByClient && ex.proxy.stopping.Load():
		by = response.ByShutdown
	}
	ex.route.metrics.Ended(string(by))
	if !ex.proxy.log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	var e audit.Event
	ex.proxy.setCaller(&e, ex.request)
	received, sent := ex.rw.Traffic.Bytes()
	ex.proxy.logOf(ex.request).Debug("live connection ended", "route", ex.route.name, "user", e.User, "host", ex.host, "by", string(by),
		"received", received, "sent", sent, "took", took)
}

// streamAfter is how long a response of unknown length goes on after its headers until it counts as a stream.
const streamAfter = 10 * time.Second

// measureStream measures how long a WebSocket or stream lasted, apart from other requests: they are as long as somebody
// looks at a page, which says nothing of how fast an application is. A request of which the upstream is slow to respond,
// or whose response has a length, is no stream.
func (ex *exchange) measureStream(took time.Duration) {
	switch {
	case ex.live.tunneled:
	case ex.events, ex.unbounded && took-ex.responded > streamAfter:
		ex.streaming = ex.begun.Sub(ex.received) + ex.responded
	default:
		return
	}
	ex.route.metrics.Streamed(took, ex.trace.Exemplar())
}
