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
	lookEvery = time.Second // how late at most a request is cut whose credentials ran out
	askEvery  = 60          // looks until everybody is asked anew: rules may speak of the time of day
)

// Run asks of every live request anew, whenever an answer may have changed, whether it may go on. It also replaces
// the key of assertions in time.
func (p *Proxy) Run(ctx context.Context) error {
	var upstreams sync.WaitGroup
	defer upstreams.Wait()
	upstreams.Go(func() { p.runHealthChecks(ctx) })
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for looks := 1; ; looks++ {
		// Both are taken before looking: a change from now on wakes us again.
		directory, sessions := p.directory.Changed(), p.sessions.Changed()
		p.review()
		for quiet := true; quiet; looks++ {
			select {
			case <-ctx.Done():
				p.endSockets()
				return ctx.Err()
			case <-directory:
				quiet = false
			case <-sessions:
				quiet = false
			case now := <-tick.C:
				p.assertions.rotate(now)
				if quiet = looks%askEvery != 0; quiet {
					p.expire(now)
				}
			}
		}
	}
}

// endSockets closes what nobody else knows of: net/http forgets a connection that became a socket.
func (p *Proxy) endSockets() {
	const within = time.Second
	live := p.live.all()
	for _, l := range live {
		if f := l.rw.frames.Load(); f != nil {
			_ = f.SetWriteDeadline(time.Now().Add(within))
		}
	}
	for _, l := range live {
		if f := l.rw.frames.Load(); f != nil {
			f.sendGoingAway()
		}
		if l.rw.isHijacked() {
			l.stop()
		}
	}
}

// review asks the question of every live request, and cuts those that may not go on.
func (p *Proxy) review() {
	p.reviewing.Lock()
	revision := p.directory.Revision() // before asking: what comes later is the next review's
	changes := p.newBatch()
	cut := p.askAnew(p.live.all(), time.Now(), changes)
	p.reviewed = revision
	changes.gone()
	p.reviewing.Unlock()
	p.recordCuts(cut, revision)
}

// expire asks those whose proof of who they are has run out by now.
func (p *Proxy) expire(now time.Time) {
	var late []*liveRequest
	for _, l := range p.live.all() {
		if l.overdue(now) {
			late = append(late, l)
		}
	}
	p.recordCuts(p.askAnew(late, now, new(batch)), p.directory.Revision())
}

// askAnew puts the question to live requests and cuts those that may not go on, as part of changes where only those
// of the directory can be why.
func (p *Proxy) askAnew(live []*liveRequest, now time.Time, changes *batch) map[*liveRequest]*refusal {
	t, others := p.table.Load(), new(batch)
	cut := map[*liveRequest]*refusal{}
	for _, l := range live {
		a := p.ask(t, l.visit, now)
		x := a.refusal
		if x == nil {
			l.askAt(a.decision.Until)
			continue
		}
		b := others
		if byDirectory[x.reason] {
			b = changes
		}
		if b.add(l, x) {
			cut[l] = x
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
			for _, l := range part {
				l.rw.halfClose()
			}
		})
	}
	all.Wait()
	for _, l := range cut {
		l.stop()
	}
}

// byDirectory are the reasons that only a change of the directory brings upon a live request, as long as the
// settings stay.
var byDirectory = map[string]bool{unknownUser: true, inactiveUser: true, suspendedUser: true, damagedRecord: true, noRule: true, ruleDeny: true}

// newBatch is the batch of the changes since the last review. It holds one place of its own until all cuts are made.
func (p *Proxy) newBatch() *batch {
	b := &batch{over: func(took time.Duration) { p.numbers.enforcement.Observe(took.Seconds()) }}
	b.received, _ = p.directory.ReceivedAfter(p.reviewed)
	b.live.Store(1)
	return b
}

// recordCuts writes down what was cut. Of all deeds these alone come before their record: nobody who may not be in
// stays because a disk is slow.
func (p *Proxy) recordCuts(cut map[*liveRequest]*refusal, revision uint64) {
	for l, x := range cut {
		l.route.numbers.cut(x.reason)
		e := audit.Event{Kind: audit.KindCut, Route: l.route.name, Rule: x.rule, Reason: x.reason, Revision: revision}
		p.name(&e, l.visit)
		_ = p.record(l.visit, e) // logged there
		p.log.Info("live request cut", "route", l.route.name, "user", e.User, "reason", x.reason, "request", l.id)
	}
}
