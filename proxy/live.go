package proxy

import (
	"math"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"sallyport/directory"
	"sallyport/policy"
	"sallyport/proxy/internal/lifetime"
	"sallyport/proxy/internal/liveset"
	"sallyport/proxy/internal/response"
)

// liveRequest is a request on a route, from before it is decided until its last byte.
type liveRequest struct {
	*request
	ctx      lifetime.Context
	rw       *response.Writer
	tunneled bool                      // a WebSocket, which outlives the handler; only the handler sets it
	end      atomic.Pointer[ending]    // nil while the request is live; set once
	allowed  atomic.Pointer[allowance] // nil until the request is let in
	entry    liveset.Entry[*liveRequest]
}

// allowance is who was let in, and by which rule.
type allowance struct {
	user *directory.User // nil: nobody the directory knows
	rule string
}

// user returns who was let in; nil: nobody the directory knows, or nobody yet.
func (l *liveRequest) user() *directory.User {
	if a := l.allowed.Load(); a != nil {
		return a.user
	}
	return nil
}

// ending is how a request ended: it was cut for a reason, as one of a batch, or it finished.
type ending struct {
	denial *denial // nil: it was not cut
	batch  *batch
	at     time.Time // when it was ended; set by endAll
}

// finished is the ending of every request that was not cut.
var finished = new(ending)

// cut marks the request as cut; the caller must then call endAll. It reports false if the request had ended before.
func (l *liveRequest) cut(denied *denial, b *batch) bool {
	return l.end.CompareAndSwap(nil, &ending{denial: denied, batch: b})
}

// stop ends the request, whatever it is doing: a WebSocket, a stream, an upload. It stops the writer first: the end of
// the context wakes the goroutine of the request, which must find the writer stopped.
func (l *liveRequest) stop(by response.Cause) {
	l.rw.Stop(by)
	l.ctx.Cancel()
}

// cutBy returns why the request was cut, or nil.
func (l *liveRequest) cutBy() *denial {
	if e := l.end.Load(); e != nil {
		return e.denial
	}
	return nil
}

// liveSet holds every request that was let in and has not ended.
type liveSet struct{ *liveset.Set[*liveRequest] }

// enter adds a request to the set, before it is decided. A change then comes either before the decision, which sees it,
// or after, and finds the request in the set.
func (s liveSet) enter(req *request, w *response.Writer, r *http.Request) *liveRequest {
	l := &liveRequest{request: req, rw: w}
	l.ctx.Begin(r.Context())
	s.Add(&l.entry, l, req.caller.subject())
	req.route.upstream.live.Add(1)
	req.route.metrics.Entered()
	return l
}

// noteAllowed notes a decision that lets the request in, or lets it go on. If the passing of time may change the decision
// before the request is decided again anyway, the request becomes due then.
func (s liveSet) noteAllowed(l *liveRequest, out outcome) {
	if a := l.allowed.Load(); a == nil || a.rule != out.decision.Rule {
		l.allowed.Store(&allowance{out.user, out.decision.Rule})
	}
	if until := policy.Earlier(out.decision.Until, l.caller.expires()); !until.IsZero() && time.Until(until) < 2*reviewEvery {
		s.Schedule(&l.entry, until)
	}
}

// leaveUnlessTunneled removes a request whose handler returns. A tunnel goes on, and leaves when it ends.
func (s liveSet) leaveUnlessTunneled(l *liveRequest) {
	if !l.tunneled {
		s.leave(l)
	}
}

// leave removes a request that has ended.
func (s liveSet) leave(l *liveRequest) {
	s.Remove(&l.entry)
	l.route.upstream.live.Add(-1)
	l.route.metrics.Left()
	l.ctx.Cancel()
	if !l.end.CompareAndSwap(nil, finished) {
		l.end.Load().batch.release()
	}
}

// bytesPerLive is what a live request is assumed to need. Live requests may use half of the memory limit.
const bytesPerLive = 64 << 10

// maxLiveByMemory returns how many live requests fit into the memory limit of the runtime (GOMEMLIMIT). Further requests
// are denied before memory runs out.
func maxLiveByMemory() int { return int(min(debug.SetMemoryLimit(-1)/2/bytesPerLive, math.MaxInt32)) }

// full reports whether the set holds limit requests. Requests that come at the same moment may exceed the limit slightly.
func (s liveSet) full(limit int) bool { return s.Len() >= limit }

// batch is the requests that were cut because of one change of the directory. It calls done when the last has ended.
type batch struct {
	received time.Time // when the change was received; zero: unknown
	after    uint64    // the directory's revision that the review before saw
	live     atomic.Int64
	cuts     int
	done     func(took time.Duration)
}

// release marks one request of the batch as ended.
func (b *batch) release() {
	// cuts is checked last: it is final once the batch's own reference was released.
	if b.live.Add(-1) == 0 && !b.received.IsZero() && b.cuts > 0 {
		b.done(time.Since(b.received))
	}
}

// add cuts a request as part of the batch. It reports false if the request had ended before.
func (b *batch) add(l *liveRequest, denied *denial) bool {
	b.live.Add(1)
	if l.cut(denied, b) {
		b.cuts++
		return true
	}
	b.live.Add(-1)
	return false
}
