package proxy

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"sallyport/audit"
)

const (
	expireEvery = time.Second // how late at most a request is cut whose credentials ran out
	reviewEvery = 60          // looks until everybody is asked anew: rules may speak of the time of day
)

// Run asks of every live request anew, whenever an answer may have changed, whether it may go on. It also replaces
// the key of assertions in time.
func (p *Proxy) Run(ctx context.Context) error {
	var upstreams sync.WaitGroup
	defer upstreams.Wait()
	upstreams.Go(func() { p.runHealthChecks(ctx) })
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	for looks := 1; ; looks++ {
		// Both are taken before looking: a change from now on wakes us again.
		directory, sessions := p.directory.Changed(), p.sessions.Changed()
		p.review()
		for quiet := true; quiet; looks++ {
			select {
			case <-ctx.Done():
				p.closeHijacked()
				return ctx.Err()
			case <-directory:
				quiet = false
			case <-sessions:
				quiet = false
			case now := <-tick.C:
				p.assertions.rotate(now)
				if quiet = looks%reviewEvery != 0; quiet {
					p.expire(now)
				}
			}
		}
	}
}

// endSockets closes what nobody else knows of: net/http forgets a connection that became a socket.
func (p *Proxy) closeHijacked() {
	const within = time.Second
	live := p.live.all()
	for _, live := range live {
		if f := live.rw.frames.Load(); f != nil {
			_ = f.SetWriteDeadline(time.Now().Add(within))
		}
	}
	for _, live := range live {
		if f := live.rw.frames.Load(); f != nil {
			f.sendGoingAway()
		}
		if live.rw.isHijacked() {
			live.stop()
		}
	}
}

// review asks the question of every live request, and cuts those that may not go on.
func (p *Proxy) review() {
	p.reviewing.Lock()
	revision := p.directory.Revision() // before asking: what comes later is the next review's
	changes := p.newBatch()
	cut := p.decideAgain(p.live.all(), time.Now(), changes)
	p.reviewed = revision
	changes.release()
	p.reviewing.Unlock()
	p.recordCuts(cut, revision)
}

// expire asks those whose proof of who they are has run out by now.
func (p *Proxy) expire(now time.Time) {
	var late []*liveRequest
	for _, live := range p.live.all() {
		if live.overdue(now) {
			late = append(late, live)
		}
	}
	p.recordCuts(p.decideAgain(late, now, new(batch)), p.directory.Revision())
}

// askAnew puts the question to live requests and cuts those that may not go on, as part of changes where only those
// of the directory can be why.
func (p *Proxy) decideAgain(live []*liveRequest, now time.Time, changes *batch) map[*liveRequest]*denial {
	rt, others := p.routing.Load(), new(batch)
	cut := map[*liveRequest]*denial{}
	for _, live := range live {
		out := p.decide(rt, live.request, now)
		denied := out.denial
		if denied == nil {
			live.decideAgainAt(out.decision.Until)
			continue
		}
		b := others
		if byDirectory[denied.reason] {
			b = changes
		}
		if b.add(live, denied) {
			cut[live] = denied
		}
	}
	endAll(slices.Collect(maps.Keys(cut)))
	return cut
}

// endAll ends what was cut. Every client is told before anything is closed, and on all cores: thousands may be open, and
// to tell one takes a call of the kernel that wakes somebody.
func endAll(cut []*liveRequest) {
	var all sync.WaitGroup
	for part := range slices.Chunk(cut, max(128, len(cut)/runtime.GOMAXPROCS(0)+1)) {
		all.Go(func() {
			for _, live := range part {
				live.rw.halfClose()
			}
		})
	}
	all.Wait()
	for _, live := range cut {
		live.stop()
	}
}

// byDirectory are the reasons that only a change of the directory brings upon a live request, as long as the
// settings stay.
var byDirectory = map[string]bool{unknownUser: true, inactiveUser: true, suspendedUser: true, damagedRecord: true, noRule: true, ruleDeny: true}

// newBatch is the batch of the changes since the last review. It holds one place of its own until all cuts are made.
func (p *Proxy) newBatch() *batch {
	b := &batch{done: func(took time.Duration) { p.metrics.enforcement.Observe(took.Seconds()) }}
	b.received, _ = p.directory.ReceivedAfter(p.reviewed)
	b.live.Store(1)
	return b
}

// recordCuts writes down what was cut. Of all deeds these alone come before their record: nobody who may not be in
// stays because a disk is slow.
func (p *Proxy) recordCuts(cut map[*liveRequest]*denial, revision uint64) {
	for live, denied := range cut {
		live.route.metrics.countCut(denied.reason)
		e := audit.Event{Kind: audit.KindCut, Route: live.route.name, Rule: denied.rule, Reason: denied.reason, Revision: revision}
		p.setCaller(&e, live.request)
		_ = p.record(live.request, e) // logged there
		p.log.Info("live request cut", "route", live.route.name, "user", e.User, "reason", denied.reason, "request", live.id)
	}
}
