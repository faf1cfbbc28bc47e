package proxy

import (
	"context"
	"math"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// liveRequest is one request on a route, from before it is decided on until its last byte.
type liveRequest struct {
	*request
	ctx         context.Context
	cancel      context.CancelFunc
	rw          *responseWriter
	tunneled    bool                   // it is a socket, which outlives the handler; set by that alone
	end         atomic.Pointer[ending] // nil while it lives; set once
	decideAgain atomic.Int64           // nanoseconds since 1970 when it has to be asked again; 0: not by itself
}

// ending is how a request ended: cut for a reason, as one of a batch, or just left.
type ending struct {
	denial *denial // nil: nobody cut it
	batch  *batch
}

// cut says that the request is over; endAll must follow. False if it was over.
func (live *liveRequest) cut(denied *denial, b *batch) bool {
	return live.end.CompareAndSwap(nil, &ending{denied, b})
}

// stop ends what was cut, whatever it is doing: a socket, a stream, an upload.
func (live *liveRequest) stop() {
	live.cancel()
	live.rw.stop()
}

// askAt has the request asked again at a time; the zero time is never.
func (live *liveRequest) decideAgainAt(t time.Time) {
	if t.IsZero() {
		live.decideAgain.Store(0)
		return
	}
	live.decideAgain.Store(t.UnixNano())
}

// overdue says whether what let the request in may have run out by now.
func (live *liveRequest) overdue(now time.Time) bool {
	until := live.decideAgain.Load()
	return until != 0 && now.UnixNano() >= until || live.caller != nil && !now.Before(live.caller.expires())
}

// cutBy is why the request was cut, or nil.
func (live *liveRequest) cutBy() *denial {
	if e := live.end.Load(); e != nil {
		return e.denial
	}
	return nil
}

// liveSet is every request that was let in and is not over.
type liveSet struct {
	mu   sync.Mutex // guards live
	live map[*liveRequest]struct{}
}

// enter puts a request into the set. It must be there before it is decided on: a change then either comes before the
// decision, which sees it, or after, and finds the request here.
func (s *liveSet) enter(req *request, w *responseWriter, r *http.Request) *liveRequest {
	live := &liveRequest{request: req, rw: w}
	live.ctx, live.cancel = context.WithCancel(r.Context())
	s.mu.Lock()
	s.live[live] = struct{}{}
	s.mu.Unlock()
	req.route.upstream.live.Add(1)
	req.route.metrics.live.Inc()
	return live
}

// eachTakes is what a live request is counted as, in bytes; half of the memory there may be is theirs.
const bytesPerLive = 64 << 10

// mostByMemory is how many live requests the runtime's memory limit (GOMEMLIMIT) has room for: beyond it they are
// refused, before there is no memory to refuse them with.
func maxLiveByMemory() int { return int(min(debug.SetMemoryLimit(-1)/2/bytesPerLive, math.MaxInt32)) }

// full says whether there are most requests already. A few more may come at once.
func (s *liveSet) full(most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.live) >= most
}

// leave takes a request out that is over.
func (s *liveSet) leave(live *liveRequest) {
	s.mu.Lock()
	delete(s.live, live)
	s.mu.Unlock()
	live.route.upstream.live.Add(-1)
	live.route.metrics.live.Dec()
	live.cancel()
	if !live.end.CompareAndSwap(nil, new(ending)) {
		live.end.Load().batch.release()
	}
}

// all lists the set.
func (s *liveSet) all() []*liveRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*liveRequest, 0, len(s.live))
	for live := range s.live {
		list = append(list, live)
	}
	return list
}

// batch is the requests cut because of one change of the directory. It knows when the last of them is over.
type batch struct {
	received time.Time // when the change reached us; zero: not known
	live     atomic.Int64
	cuts     int
	done     func(took time.Duration)
}

// gone says that one request of the batch is over.
func (b *batch) release() {
	if b.live.Add(-1) == 0 && !b.received.IsZero() && b.cuts > 0 { // cuts last: only a batch that holds a place is done with it now
		b.done(time.Since(b.received))
	}
}

// add cuts a request as one of the batch.
func (b *batch) add(live *liveRequest, denied *denial) bool {
	b.live.Add(1)
	if live.cut(denied, b) {
		b.cuts++
		return true
	}
	b.live.Add(-1)
	return false
}
