// Package grant lets people in for a while: requests for access and the grants that come
// of them, break-glass sign-ins, and reviews of who has access.
//
// What must hold: a grant never outlives its time or its person. It belongs to one epoch
// of one user: whoever was deactivated, suspended or deleted since has another epoch or
// another id, so that coming back revives nothing.
//
// The store is the truth. Decisions read a copy in memory, which only [Grants.Run]
// changes; every method that changes something returns once memory has the change.
package grant

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/store"
	"sallyport/store/follow"
)

// ErrStored means that a change is stored, but that decisions do not depend on it yet.
var ErrStored = errors.New("the change is stored, but decisions do not depend on it yet")

// Grants are the requests, grants and revocations of all users. Its methods may be called
// concurrently. A nil *Grants has none, for those who only read.
type Grants struct {
	store    store.Store
	mirror   *follow.Mirror
	touched  follow.Feed[string]                  // users
	holdings atomic.Pointer[map[string]*Holdings] // by user, of those decisions depend on; replaced, never altered
	writing  chan struct{}                        // holds one element while records are changed

	mu     sync.Mutex // guards memory
	memory memory
}

// Open loads what st has.
func Open(ctx context.Context, st store.Store) (*Grants, error) {
	g := &Grants{store: st, writing: make(chan struct{}, 1)}
	var err error
	if g.mirror, err = follow.New(ctx, st, g.load, g.apply); err != nil {
		return nil, fmt.Errorf("loading grants: %w", err)
	}
	g.mirror.OnUnknown(g.touched.AddUnknown)
	return g, nil
}

// Run brings every change of the store into memory until ctx ends or the store fails.
func (g *Grants) Run(ctx context.Context) error { return g.mirror.Run(ctx) }

// CatchUp returns nil once memory has what any replica has stored before the call.
func (g *Grants) CatchUp(ctx context.Context) error { return g.mirror.CatchUp(ctx) }

// Changed returns a channel that is closed when [Grants.Of] may return something else
// than before. Take it before calling Of.
func (g *Grants) Changed() <-chan struct{} {
	if g == nil {
		return nil
	}
	return g.mirror.Changed()
}

// Touched returns the users for whom [Grants.Of] may return something else than when it
// returned since, and what to call it with the next time. It reports false if that is not
// known: then it may be any user. Take the channel of Changed before calling it, and call
// Of afterwards.
func (g *Grants) Touched(since uint64) (users []string, now uint64, known bool) {
	if g == nil {
		return nil, since, true
	}
	return g.touched.Since(since)
}

// Fresh returns nil while memory follows the store.
func (g *Grants) Fresh() error {
	if g == nil {
		return nil
	}
	return g.mirror.Err()
}

// Of returns what the user has been granted, and what reviews revoked; nil if nothing.
// Epoch is that of the user as the directory has it now. It reads memory only and does
// not allocate.
func (g *Grants) Of(user string, epoch uint64) *Holdings {
	if g == nil {
		return nil
	}
	h := (*g.holdings.Load())[user]
	if h == nil || h.epoch == epoch {
		return h
	}
	return h.former
}

// Holdings are the grants of one user, and the memberships that reviews revoked. They are
// immutable. The methods implement policy.Grants.
type Holdings struct {
	epoch   uint64
	until   map[string]time.Time // when the grant of a policy ends, by the policy's name
	revoked map[string]bool      // groups, by the directory's id, and by object ID, or by name if they had none then
	former  *Holdings            // what is left for a user of another epoch: revocations alone; nil if there are none
}

// Until returns when the grant of a policy ends; the zero time if there is none.
func (h *Holdings) Until(policy string) time.Time { return h.until[policy] }

// Revokes reports whether any membership is revoked. It may be called on nil.
func (h *Holdings) Revokes() bool { return h != nil && len(h.revoked) > 0 }

// Revoked reports whether a review revoked the membership of a group, which is named by the
// directory's id, or as rules named it when it was revoked. If a revocation is damaged,
// which group it is about is not known, so that all count as revoked.
func (h *Holdings) Revoked(group string) bool { return h.revoked[group] || h.revoked[""] }

// update commits what fn writes and returns once memory has it.
func (g *Grants) update(ctx context.Context, fn func(store.Writer) error) error {
	revision, err := g.store.Update(ctx, fn)
	if err != nil {
		return err
	}
	if err := g.mirror.Wait(ctx, revision); err != nil {
		return fmt.Errorf("%w: %w", ErrStored, err)
	}
	return nil
}
