package proxy

import (
	"context"
	"runtime"
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
	reviewParts = int(reviewEvery / expireEvery)
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
	r := round{begun: time.Now()}
	for {
		// The channels are taken before the review, so that a change from now on starts another one.
		directory, sessions, grants, keys := p.directory.Changed(), p.sessions.Changed(), p.grants.Changed(), p.Provider().Changed()
		p.review()
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
				p.expire(r.next(p.live, now), now)
			}
		}
	}
}

// round is how far the live requests have been decided again that are decided once in reviewEvery: a part of them in each
// expireEvery, so that nothing else has to wait for all.
type round struct {
	begun time.Time
	part  int // of the parts since begun
}

// next returns the live requests of the parts that are due at now, and those that are due by themselves.
func (r *round) next(set liveSet, now time.Time) []*liveRequest {
	due := set.Due(now)
	last := int(now.Sub(r.begun) / expireEvery)
	for r.part = max(r.part, last-reviewParts); r.part < last; r.part++ {
		due = append(due, set.Part(r.part%reviewParts, reviewParts)...)
	}
	return due
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

// seen is what the reviews have seen.
type seen struct {
	revision                    uint64          // of the directory
	directory, sessions, grants uint64          // positions in what they tell of users who were touched
	keys                        <-chan struct{} // closed if keys of the provider were withdrawn since; nil: not known
}

// review decides again the live requests that are touched by what has changed since the last review, and cuts those that
// are now denied.
func (p *Proxy) review() { p.reviewSome(p.touched) }

// reviewAll decides every live request again and cuts those that are now denied.
func (p *Proxy) reviewAll() {
	p.reviewSome(func(rt *routing) []*liveRequest {
		p.seen.keys = nil // the provider may be another one
		p.touched(rt)     // which says what this review has seen
		return p.live.All()
	})
}

func (p *Proxy) reviewSome(choose func(*routing) []*liveRequest) {
	p.reviewing.Lock()
	rt, revision := p.routing.Load(), p.directory.Revision() // before choosing and deciding: a later change belongs to the next review
	changes := p.newBatch()
	cut := p.decideAgain(rt, choose(rt), time.Now(), changes)
	p.seen.revision = revision
	changes.release()
	p.reviewing.Unlock()
	p.recordCuts(cut, revision, audit.Actor{})
}

// touched returns the live requests whose outcome may have changed since it was called last: those of the users whom the
// directory, the sessions and the grants name, or all if that is not known. What it returns was in the set after the
// changes were in memory; a request that entered since is decided with them.
func (p *Proxy) touched(rt *routing) []*liveRequest {
	var users []directory.Touched
	var ended, granted []string
	var known [3]bool
	withdrawn := p.keysWithdrawn()
	users, p.seen.directory, known[0] = p.directory.Touched(p.seen.directory)
	ended, p.seen.sessions, known[1] = p.sessions.Touched(p.seen.sessions)
	granted, p.seen.grants, known[2] = p.grants.Touched(p.seen.grants)
	related := slices.ContainsFunc(users, func(t directory.Touched) bool { return t.Named(rt.related) })
	if withdrawn || related || slices.Contains(known[:], false) {
		return p.live.All()
	}
	subjects := map[liveset.Subject]bool{}
	add := func(id string, names ...string) {
		subjects[liveset.User(id)] = true
		for _, name := range names {
			subjects[liveset.Named(name)] = true
		}
	}
	for i := range users {
		add(users[i].ID, users[i].Names[:]...)
	}
	for _, id := range slices.Concat(ended, granted) {
		add(id)
		if u, ok := p.directory.ByID(id); ok { // if the user has no name any more, the directory names those that the user had
			add(id, u.UserName, u.ExternalID)
		}
	}
	return p.live.Of(subjects)
}

// keysWithdrawn reports whether keys of the provider may have been withdrawn since it was called last.
func (p *Proxy) keysWithdrawn() bool {
	select {
	case <-p.seen.keys:
	default:
		if p.seen.keys != nil {
			return false
		}
	}
	p.seen.keys = p.Provider().Changed()
	return true
}

// expire decides again live requests whose outcome may have changed by the passing of time.
func (p *Proxy) expire(due []*liveRequest, now time.Time) {
	p.reviewing.Lock()
	revision := p.seen.revision
	cut := p.decideAgain(p.routing.Load(), due, now, &batch{after: revision})
	p.reviewing.Unlock()
	p.recordCuts(cut, p.directory.Revision(), audit.Actor{})
}

// decideAgain decides live requests again, on all cores, and cuts those that are now denied. The cuts that only a change of
// the directory can explain become part of changes.
func (p *Proxy) decideAgain(rt *routing, live []*liveRequest, now time.Time, changes *batch) (cut []*liveRequest) {
	var mu sync.Mutex // guards the batches and cut
	others := new(batch)
	onAllCores(live, func(l *liveRequest) {
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
	return cut
}

// onAllCores calls f with each of live requests, on all cores if they are many.
func onAllCores(live []*liveRequest, f func(*liveRequest)) {
	const few = 128
	var all sync.WaitGroup
	for part := range slices.Chunk(live, max(few, len(live)/(4*runtime.GOMAXPROCS(0))+1)) {
		each := func() {
			for _, l := range part {
				f(l)
			}
		}
		if len(live) <= few {
			each()
		} else {
			all.Go(each)
		}
	}
	all.Wait()
}

// endAll ends requests that were cut. It half-closes the connections of all tunnels before it closes any, on all cores:
// there may be thousands, and each half-close is a system call that wakes a thread.
func endAll(cut []*liveRequest) {
	onAllCores(cut, func(l *liveRequest) { l.rw.HalfClose() })
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
	b := &batch{after: p.seen.revision, done: p.metrics.Enforced}
	b.received, _ = p.directory.ReceivedAfter(p.seen.revision)
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
