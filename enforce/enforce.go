// Package enforce waits until no replica decides without a change, and records that.
//
// What must hold: nobody is told that access was taken away while a replica may still give it. A replica decides by the
// change, or its lease has run out and it decides nothing.
package enforce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sallyport/audit"
	"sallyport/store"
)

// ErrUnknown means that a change is stored, but that it could not be found out in time whether every replica decides by it.
var ErrUnknown = errors.New("the change is stored, but it is not known whether every replica decides by it")

// A wait ends after the lease and graceAfterLease at the latest, in which the lease of a replica that cannot be reached runs
// out, and never takes longer than maxWait: nobody waits so long for a response.
const (
	graceAfterLease = 5 * time.Second
	maxWait         = time.Minute
)

// maxUnsettled bounds the subjects that are remembered of changes of which it is not known whether they are enforced.
const maxUnsettled = 1000

// Enforcer waits for the replicas that use a store. A nil *Enforcer is that of a store which one process uses: nobody waits,
// and nothing is recorded. Its methods may be called concurrently.
type Enforcer struct {
	leaser store.Leaser
	record func(audit.Event) error
	bound  time.Duration // of a wait
	log    *slog.Logger

	mu        sync.Mutex // guards unsettled
	unsettled map[subject]bool
}

// subject is whom and what a change is about.
type subject struct{ user, group string }

// New returns the Enforcer of a store whose replicas have a lease; nil if only this process uses the store. It records by
// the function record.
func New(st store.Store, lease time.Duration, record func(audit.Event) error, log *slog.Logger) *Enforcer {
	leaser, ok := st.(store.Leaser)
	if !ok {
		return nil
	}
	return &Enforcer{leaser: leaser, record: record, bound: min(lease+graceAfterLease, maxWait), log: log, unsettled: map[subject]bool{}}
}

// Wait returns once no replica decides without what was committed before the call, and records that for each of the events
// that told of the changes. If that cannot be found out, the error is [ErrUnknown]. It does not end with ctx, since a
// change is enforced even if whoever asked for it has gone; it ends soon by itself.
func (e *Enforcer) Wait(ctx context.Context, changes ...audit.Event) (Outcome, error) {
	if e == nil {
		return Outcome{}, nil
	}
	o := e.wait(ctx)
	for _, change := range changes {
		e.settle(subjectOf(&change), o.err != nil)
		e.write(o.event(change))
	}
	return o, o.error()
}

// Again is Wait for a request that changed nothing, perhaps since it was sent again after ErrUnknown. It records that the
// change is enforced if it is about the subject of one of which that was not known.
func (e *Enforcer) Again(ctx context.Context, about audit.Event) (Outcome, error) {
	if e == nil {
		return Outcome{}, nil
	}
	o := e.wait(ctx)
	if o.err == nil && e.settle(subjectOf(&about), false) {
		e.write(o.event(about))
	}
	return o, o.error()
}

func (e *Enforcer) wait(ctx context.Context) Outcome {
	begun := time.Now()
	waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.bound)
	defer cancel()
	found, err := e.leaser.Enforced(waiting, 0)
	o := Outcome{Enforcement: found, Took: time.Since(begun), err: err}
	if list, ok := ctx.Value(outcomesKey{}).(*outcomes); ok {
		list.add(o)
	}
	switch {
	case err != nil:
		e.log.ErrorContext(ctx, "a change is stored, and it is not known whether every replica decides by it", "outcome", o.String(), "err", err)
	case len(o.Fenced) > 0:
		e.log.WarnContext(ctx, "a change is enforced, and replicas that do not have it decide nothing", "outcome", o.String())
	}
	return o
}

func subjectOf(e *audit.Event) subject { return subject{e.User, e.Group} }

// settle remembers whether it is unknown if the changes of a subject are enforced, and reports whether it was.
func (e *Enforcer) settle(s subject, unknown bool) (was bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	was = e.unsettled[s]
	delete(e.unsettled, s)
	if unknown && len(e.unsettled) < maxUnsettled {
		e.unsettled[s] = true
	}
	return was
}

// write records an event. That it cannot be recorded changes nothing about what is enforced.
func (e *Enforcer) write(event audit.Event) {
	if err := e.record(event); err != nil {
		e.log.Error("it is not in the audit record when a change was enforced", "user", event.User, "group", event.Group, "err", err)
	}
}

// error returns nil, or an error that is ErrUnknown and says what is known.
func (o Outcome) error() error {
	if o.err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrUnknown, o)
}
