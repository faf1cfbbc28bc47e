// Package handover lets two processes use one store while the second takes it over from the first.
//
// A [Store] stands before the engine. The first process releases its engine, and calls wait; the second opens the store, and
// from then on the engine of the first is a [Remote], which reaches the store through the second. What must hold: a change is
// acknowledged by either process only once the memory of both has it. If the first process does not apply a change in time,
// the second ends it; if it cannot hear of changes any more, it decides nothing.
package handover

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	"sallyport/store"
)

// Store is a store whose engine may be taken over by another process. Its methods may be called concurrently.
type Store struct {
	stale atomic.Pointer[error] // why memory may not be decided from; nil: it may be

	mu        sync.Mutex // guards the fields below
	engine    store.Store
	open      chan struct{} // closed while calls may use the engine
	users     int           // calls that use the engine
	unused    chan struct{} // closed when the last call under way ends; nil if nobody waits for that
	followers []*follower
	peers     map[*Peer]struct{} // other processes that use the engine of this one
	moved     chan struct{}      // closed when a follower or a peer has applied more, or a peer is gone
	changed   chan struct{}      // closed when stale is set
}

// New returns a store on an engine.
func New(engine store.Store) *Store {
	s := &Store{engine: engine, open: make(chan struct{}), peers: map[*Peer]struct{}{}, moved: make(chan struct{}), changed: make(chan struct{})}
	close(s.open)
	return s
}

// Hold makes calls wait until [Store.Use], and returns when those under way have ended. If ctx ends before, calls go on, and
// Hold returns an error.
func (s *Store) Hold(ctx context.Context) error {
	s.mu.Lock()
	s.open = make(chan struct{})
	unused := make(chan struct{})
	if s.users == 0 {
		close(unused)
	} else {
		s.unused = unused
	}
	engine := s.engine
	s.mu.Unlock()
	select {
	case <-unused:
		return nil
	case <-ctx.Done():
		s.Use(engine)
		return fmt.Errorf("waiting for the end of what reads or changes the store: %w", ctx.Err())
	}
}

// Use lets calls go on, with engine. Those who watch go on with it once the former engine is closed.
func (s *Store) Use(engine store.Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engine, s.unused = engine, nil
	select {
	case <-s.open:
	default:
		close(s.open)
	}
}

// Fail says that changes are not heard of any more: memory may not be decided from, ever again.
func (s *Store) Fail(reason error) {
	err := fmt.Errorf("%w: %w", store.ErrStale, reason)
	if !s.stale.CompareAndSwap(nil, &err) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
}

// enter waits until the engine may be used. The caller must call leave.
func (s *Store) enter(ctx context.Context) (store.Store, error) {
	for {
		s.mu.Lock()
		open := s.open
		select {
		case <-open:
			s.users++
			engine := s.engine
			s.mu.Unlock()
			return engine, nil
		default:
		}
		s.mu.Unlock()
		select {
		case <-open:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *Store) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 && s.unused != nil {
		close(s.unused)
		s.unused = nil
	}
}

// View implements [store.Store].
func (s *Store) View(ctx context.Context, fn func(store.Reader) error) error {
	engine, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer s.leave()
	return engine.View(ctx, fn)
}

// Update implements [store.Store]. It returns once the memory of every other process that uses the store has the change.
func (s *Store) Update(ctx context.Context, fn func(store.Writer) error) (store.Revision, error) {
	revision, err := s.update(ctx, fn)
	if err != nil {
		return revision, err
	}
	return revision, s.awaitPeers(ctx, revision)
}

func (s *Store) update(ctx context.Context, fn func(store.Writer) error) (store.Revision, error) {
	engine, err := s.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer s.leave()
	return engine.Update(ctx, fn)
}

// Watch implements [store.Store]. It goes on with the next engine when one is closed.
func (s *Store) Watch(ctx context.Context, after store.Revision) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) {
		for {
			engine := s.current()
			var ended error
			for change, err := range engine.Watch(ctx, after) {
				if ended = err; err != nil {
					break
				}
				if !yield(change, nil) {
					return
				}
				after = change.Revision
			}
			if !errors.Is(ended, store.ErrClosed) || s.current() == engine {
				yield(store.Change{}, ended)
				return
			}
		}
	}
}

func (s *Store) current() store.Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.engine
}

// Leave says that this process decides nothing any more: the one that has the store does not have to wait for it.
func (s *Store) Leave() {
	if r, ok := s.current().(*Remote); ok {
		r.Leave()
	}
}

// Close closes the engine.
func (s *Store) Close() error { return s.current().Close() }

// Follow adds memory that follows the store. It implements [store.Followed].
func (s *Store) Follow() store.Follower {
	f := &follower{store: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followers = append(s.followers, f)
	return f
}

// follower is memory that follows the store.
type follower struct {
	store   *Store
	applied store.Revision // guarded by store.mu
}

// Applied implements [store.Follower].
func (f *follower) Applied(revision store.Revision) {
	s := f.store
	s.mu.Lock()
	defer s.mu.Unlock()
	f.applied = revision
	s.wake()
	if r, ok := s.engine.(*Remote); ok {
		r.acknowledge(s.applied())
	}
}

// Err implements [store.Follower].
func (f *follower) Err() error {
	if err := f.store.stale.Load(); err != nil {
		return *err
	}
	return nil
}

// Changed implements [store.Follower]. After the store failed, nothing changes any more.
func (f *follower) Changed() <-chan struct{} {
	if f.store.stale.Load() != nil {
		return nil
	}
	return f.store.changed
}

// wake wakes those who wait for followers and peers. mu is held.
func (s *Store) wake() {
	close(s.moved)
	s.moved = make(chan struct{})
}

// applied returns the revision that all memory has. mu is held.
func (s *Store) applied() store.Revision {
	least := ^store.Revision(0)
	for _, f := range s.followers {
		least = min(least, f.applied)
	}
	return least
}

// awaitPeers returns when every other process has applied revision, or is gone.
func (s *Store) awaitPeers(ctx context.Context, revision store.Revision) error {
	return s.await(ctx, func() bool {
		for p := range s.peers {
			if p.applied < revision {
				return false
			}
		}
		return true
	})
}

// awaitFollowers returns when the memory of this process has revision.
func (s *Store) awaitFollowers(ctx context.Context, revision store.Revision) error {
	return s.await(ctx, func() bool { return s.applied() >= revision })
}

// await returns when done, which is called with mu held, returns true.
func (s *Store) await(ctx context.Context, done func() bool) error {
	for {
		s.mu.Lock()
		ok, moved := done(), s.moved
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("the change is stored, and it is not known whether it is enforced: %w", ctx.Err())
		}
	}
}
