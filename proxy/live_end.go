package proxy

import (
	"context"
	"log/slog"
	"time"

	"sallyport/audit"
)

// endedBy says who ended a live connection. It is a label of sallyport_live_ended_total. The set is closed.
//
// A stop decides first: the cause of the first stop counts, whatever the client and the upstream did because of it.
// Otherwise it is the side whose end the proxy saw first:
//
//	client    The client closed its side of a tunnel, or its connection or stream; a write to it failed; or it broke off
//	          or garbled its request body.
//	upstream  The upstream completed the response or closed its side of a tunnel; or it broke off.
//	cut       A change of the directory, the session, the policies or the routes took the access away, or it expired.
//	stall     The client did not read, or did not send more of its body, for longer than limits.stall.
//	shutdown  The server stopped. While it does, the end of a stream by its client is counted here too: net/http closes
//	          connections without saying why.
//	error     The proxy gave up: the upstream did not respond in time, the body was larger than the route allows, or a
//	          fault of the proxy.
type endedBy string

const (
	byClient   endedBy = "client"
	byUpstream endedBy = "upstream"
	byCut      endedBy = "cut"
	byStall    endedBy = "stall"
	byShutdown endedBy = "shutdown"
	byError    endedBy = "error"
)

// longLived is how long an exchange must have lasted to be reported as a live connection that ended.
const longLived = time.Second

// reportEnd counts and logs the end of a tunnel, stream, upload or slow request that lasted longer than longLived. by is
// the side whose end was seen first; received and sent are the bytes of the bodies from and to the client.
func (ex *exchange) reportEnd(by endedBy, received, sent int64) {
	took := time.Since(ex.begun)
	if took < longLived {
		return
	}
	switch cause := ex.rw.stopCause(); {
	case cause != "":
		by = cause
	case ex.live.cutBy() != nil:
		by = byCut
	case by == byClient && ex.proxy.stopping.Load():
		by = byShutdown
	}
	ex.route.metrics.countEnd(by)
	if !ex.proxy.log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	var e audit.Event
	ex.proxy.setCaller(&e, ex.request)
	ex.proxy.log.Debug("live connection ended", "route", ex.route.name, "user", e.User, "host", ex.host, "by", string(by),
		"received", received, "sent", sent, "took", took, "request", ex.id)
}
