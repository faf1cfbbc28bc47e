package proxy

import (
	"context"
	"slices"
	"sync"
	"time"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/proxy/internal/detail"
	"sallyport/proxy/internal/liveset"
	"sallyport/proxy/internal/response"
)

const (
	expireEvery = time.Second // a request whose credentials expired is cut this much later at most
	reviewEvery = time.Minute // each live request is decided again, whatever has changed: conditions may ask for the time
)

// Run decides live requests again whenever their outcome may change, checks the health of upstreams, and counts the
// sessions that end with their users.
func (p *Proxy) Run(ctx context.Context) error {
	var others sync.WaitGroup
	defer others.Wait()
	others.Go(func() { p.runHealthChecks(ctx) })
	others.Go(func() { p.countLeavers(ctx) })
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	begun, round := time.Now(), liveset.Round{Step: expireEvery, Parts: int(reviewEvery / expireEvery)}
	for {
		// The channels are taken before the review, so that a change from now on starts another one.
		directory, sessions, grants, keys := p.directory.Changed(), p.sessions.Changed(), p.grants.Changed(), p.Provider().Changed()
		others.Go(p.review())
		for unchanged := true; unchanged; {
			select {
			case <-ctx.Done():
				p.closeHijacked()
				return ctx.Err()
			case <-directory:
				unchanged = false
			case <-sessions:
				unchanged = false
			case <-grants:
				unchanged = false
			case <-keys:
				unchanged = false
			case now := <-tick.C:
				others.Go(p.expire(p.live.Pass(&round, now.Sub(begun), now), now))
			}
		}
	}
}

// EndStreams ends every WebSocket, and every response that has been under way for longer than after, and for a second at
// least (a stream or a download), of the requests for whose contexts of returns true.
func (p *Proxy) EndStreams(after time.Duration, of func(context.Context) bool) {
	after = max(after, longLived)
	p.shutDown(func(l *liveRequest) bool { return (l.rw.Client() != nil || l.rw.RespondingFor() > after) && of(&l.ctx) })
}

// closeHijacked closes the connections that became tunnels: net/http no longer knows them.
func (p *Proxy) closeHijacked() {
	p.stopping.Store(true)
	p.shutDown(func(l *liveRequest) bool { return l.rw.Client() != nil })
}

// shutDown ends the live requests for which ends returns true. The client of a WebSocket first gets a close frame
// that says that the server is going away.
func (p *Proxy) shutDown(ends func(*liveRequest) bool) {
	const timeout = time.Second
	live := slices.DeleteFunc(p.live.All(), func(l *liveRequest) bool { return !ends(l) })
	for _, l := range live {
		if client := l.rw.Client(); client != nil {
			_ = client.SetWriteDeadline(time.Now().Add(timeout))
		}
	}
	for _, l := range live {
		if client := l.rw.Client(); client != nil {
			client.SendGoingAway()
		}
		l.stop(response.ByShutdown)
	}
}

// review decides again the live requests that are touched by what has changed since the last review, and cuts those that
// are now denied. What it finds in the set was there after the changes were in memory; a request that enters afterwards is
// decided with them. It returns a function that records the cuts, for which the next review need not wait.
func (p *Proxy) review() (record func()) {
	return p.reviewSome(func(rt *routing) []*liveRequest {
		if subjects, known := p.touched.Read(rt.related, p.Provider().Changed); known {
			return p.live.Of(subjects)
		}
		return p.live.All()
	})
}

// reviewAll decides every live request again and cuts those that are now denied.
func (p *Proxy) reviewAll() {
	record := p.reviewSome(func(*routing) []*liveRequest {
		p.touched.ReadAll(p.Provider().Changed)
		return p.live.All()
	})
	record()
}

func (p *Proxy) reviewSome(choose func(*routing) []*liveRequest) (record func()) {
	p.reviewing.Lock()
	rt, revision := p.routing.Load(), p.directory.Revision() // before choosing and deciding: a later change belongs to the next review
	cut := p.decideAgain(rt, choose(rt), time.Now())
	p.reviewed = revision
	p.reviewing.Unlock()
	return func() { p.recordCuts(cut, revision, audit.Actor{}) }
}

// expire decides again live requests whose outcome may have changed by the passing of time. It returns a function that
// records the cuts.
func (p *Proxy) expire(due []*liveRequest, now time.Time) (record func()) {
	p.reviewing.Lock()
	cut := p.decideAgain(p.routing.Load(), due, now)
	p.reviewing.Unlock()
	revision := p.directory.Revision()
	return func() { p.recordCuts(cut, revision, audit.Actor{}) }
}

// decideAgain decides live requests again, on all cores, and cuts those that are now denied. The cuts that only a change of
// the directory can explain are one batch, whose enforcement is measured.
func (p *Proxy) decideAgain(rt *routing, live []*liveRequest, now time.Time) (cut []*liveRequest) {
	var mu sync.Mutex // guards the batches and cut
	changes, others := p.newBatch(), new(batch)
	liveset.Each(live, func(l *liveRequest) {
		out := p.decide(rt, l.request, now)
		if out.denial == nil {
			p.live.noteAllowed(l, out)
			return
		}
		b := others
		if byDirectory[out.denial.reason] {
			b = changes
		}
		mu.Lock()
		defer mu.Unlock()
		if b.add(l, out.denial) {
			cut = append(cut, l)
		}
	})
	endAll(cut)
	changes.received, _ = p.directory.ReceivedAfter(changes.after) // not before: a decision may be by a change of this moment
	changes.release()
	return cut
}

// endAll ends requests that were cut. It half-closes the connections of all tunnels before it closes any, on all cores:
// there may be thousands, and each half-close is a system call that wakes a thread.
func endAll(cut []*liveRequest) {
	liveset.Each(cut, func(l *liveRequest) { l.rw.HalfClose() })
	for _, l := range cut {
		l.stop(response.ByCut)
		l.end.Load().at = time.Now().UTC()
	}
}

// byDirectory are the reasons for which only a change of the directory cuts a live request, as long as the settings stay
// the same.
var byDirectory = map[Reason]bool{unknownUser: true, inactiveUser: true, suspendedUser: true, damagedRecord: true, noRule: true, ruleDeny: true}

// newBatch returns the batch for the changes since the last review. It holds a reference of its own until all cuts are
// made.
func (p *Proxy) newBatch() *batch {
	b := &batch{after: p.reviewed, done: p.metrics.Enforced}
	b.live.Store(1)
	return b
}

// causeOf returns the change of the directory for which a request of a user was cut: the first that a request made since
// the review that last allowed it. It returns the zero value if no such change did.
func (p *Proxy) causeOf(user string, end *ending) directory.Receipt {
	if reason := end.denial.reason; byDirectory[reason] && reason != suspendedUser && reason != damagedRecord {
		if cause, ok := p.directory.ReceiptOf(user, end.batch.after); ok && !cause.Received.After(end.at) {
			return cause
		}
	}
	return directory.Receipt{}
}

// recordCuts records the requests that were cut, and who asked for it, if somebody did. Unlike every other action, a cut is recorded after it was made: a slow
// disk must not keep a request alive that is no longer allowed.
func (p *Proxy) recordCuts(cut []*liveRequest, revision uint64, by audit.Actor) {
	for _, l := range cut {
		end := l.end.Load()
		denied := end.denial
		l.route.metrics.Cut(string(denied.reason))
		e := audit.Event{Time: end.at, Kind: audit.KindCut, Actor: by, Route: l.route.name, Rule: denied.rule, Reason: string(denied.reason), Revision: revision,
			Detail: detail.Cut(l.received)}
		p.setCaller(&e, l.request)
		if u := l.user(); u != nil && e.User == "" { // they were deleted
			e.User, e.UserName = u.ID, u.UserName
		}
		detail.Trace(e.Detail, l.trace.ID())
		detail.Cause(e.Detail, p.causeOf(e.User, end))
		_ = p.record(l.request, e) // record logs the error
		p.logOf(l.request).Info("live request cut", "route", l.route.name, "user", e.User, "reason", denied.reason)
	}
}
