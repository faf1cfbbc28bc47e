package notice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/session"
)

// Parts are what a [Follower] needs.
type Parts struct {
	Directory *directory.Directory
	Waiting   func(context.Context) (int, error) // how many held deactivations wait
	Send      func(event string, data any)       // must not wait
	Log       *slog.Logger
}

// Follower tells of people who were offboarded and of deactivations that are held. It reads both from the records of
// changes that the directory keeps, and hears from the audit log which sessions and requests ended.
type Follower struct {
	parts Parts
	after uint64 // the revision of the directory from which Run reads

	mu      sync.Mutex // guards the fields below
	leavers leavers
	holds   holds
}

// NewFollower returns a Follower of what happens from now on.
func NewFollower(p Parts) *Follower {
	return &Follower{parts: p, after: p.Directory.Revision(), leavers: leavers{all: map[string]*leaver{}}}
}

// Observe takes an event that is about to be written to the audit record. It does not wait.
func (f *Follower) Observe(e audit.Event) {
	switch {
	case e.Kind == audit.KindCut && (e.Reason == "inactive_user" || e.Reason == "unknown_user"):
	case e.Kind == audit.KindEnd && e.Reason == string(session.ReasonUser):
	default:
		return
	}
	if e.User == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leavers.observe(e, time.Now())
}

const (
	lookEvery = time.Second // whether something is to be told
	lastLook  = time.Second // bounds how long Run reads what was stored last before it ended
)

// Run tells of what happens until ctx ends; then of what it has not told yet.
func (f *Follower) Run(ctx context.Context) error {
	following, stop := context.WithCancel(ctx)
	defer stop()
	followed := make(chan error, 1)
	go func() { defer stop(); followed <- f.follow(following) }()
	f.tellUntil(following.Done())
	stop()
	err := <-followed
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	_ = f.follow(last) // the directory may have ended, of which the caller knows
	f.tell(time.Now(), true)
	return err
}

// follow reads the records of changes until ctx ends.
func (f *Follower) follow(ctx context.Context) error {
	for rec, err := range f.parts.Directory.Records(ctx, f.after) {
		if err != nil {
			return err
		}
		f.after = rec.Revision
		if rec.Replica != f.parts.Directory.Replica() { // whoever made the change tells of it
			continue
		}
		var e audit.Event
		if err := json.Unmarshal(rec.Event, &e); err != nil {
			return fmt.Errorf("reading the event of revision %d: %w", rec.Revision, err)
		}
		f.take(e, rec.Received)
	}
	return ctx.Err()
}

// take notes a change of the directory, if there is something to tell of it.
func (f *Follower) take(e audit.Event, received time.Time) {
	if e.Kind != audit.KindSCIM || e.User == "" {
		return
	}
	cause := ""
	switch {
	case e.Reason == "held":
	case e.Reason == "delete":
		cause = Deleted
	case e.Detail["result"] == Deactivated:
		cause = Deactivated
	default:
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if cause == "" {
		f.holds.add(f.userOf(e), e.Actor, received, time.Now())
	} else {
		f.leavers.add(f.userOf(e), cause, e.Actor, received, time.Now())
	}
}

// tellUntil tells of everything at its time, until done is closed.
func (f *Follower) tellUntil(done <-chan struct{}) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-tick.C:
			f.tell(now, false)
		}
	}
}

// tell tells of what is due at now, or of everything.
func (f *Follower) tell(now time.Time, everything bool) {
	f.mu.Lock()
	left, held := f.leavers.due(now, everything), f.holds.due(now, everything)
	f.mu.Unlock()
	for _, n := range left {
		f.parts.Send(UserOffboarded, n)
	}
	if held != nil {
		held.Waiting = f.waiting(len(held.Users) + held.More)
		f.parts.Send(DeactivationsHeld, *held)
	}
}

// waiting returns how many held deactivations wait; at least those that were held lately, if the store cannot be read.
func (f *Follower) waiting(lately int) int {
	ctx, cancel := context.WithTimeout(context.Background(), lastLook)
	defer cancel()
	n, err := f.parts.Waiting(ctx)
	if err != nil {
		if !errors.Is(err, context.DeadlineExceeded) {
			f.parts.Log.Error("held deactivations could not be counted", "err", err)
		}
		return lately
	}
	return n
}
