// Package follow keeps a copy of a store in memory equal to the store.
//
// What must hold: memory goes through the store's revisions in order and equals
// the store's content at each of them. Wait returns nil once memory has the
// revision, or an error that says why it never will.
package follow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"sallyport/store"
)

// ErrEnded means that [Mirror.Run] has ended: memory no longer follows the store.
// An error that is ErrEnded also wraps the reason.
var ErrEnded = errors.New("memory no longer follows the store")

// errRunning is the error of a second Run of one Mirror.
var errRunning = errors.New("the mirror of the store is running already")

// Load reads the whole store, replaces memory by what it read and returns the
// revision that it read.
type Load func(context.Context) (store.Revision, error)

// Apply brings memory from the revision before change to that of change. It
// reports whether a read of memory may give another result than before.
type Apply func(change store.Change) (changed bool)

// Mirror is memory that follows a store. Its methods may be called concurrently.
//
// Load and Apply are never called at the same time, and readers may read memory
// while they run: a Mirror does not lock memory.
type Mirror struct {
	store    store.Store
	load     Load
	apply    Apply
	leaser   store.Leaser   // nil if only this process uses the store
	follower store.Follower // nil if no other process changes the store
	unknown  func()         // see OnUnknown; never nil

	ended atomic.Pointer[error] // why Run ended; nil while memory may be trusted

	mu       sync.Mutex // guards the fields below
	revision store.Revision
	running  bool
	moved    chan struct{} // closed when revision grows or Run ends
	changed  chan struct{} // closed when reads may give other results
}

// New loads memory and returns its Mirror. Memory follows the store once
// [Mirror.Run] runs.
func New(ctx context.Context, st store.Store, load Load, apply Apply) (*Mirror, error) {
	m := &Mirror{store: st, load: load, apply: apply, unknown: func() {}, moved: make(chan struct{}), changed: make(chan struct{})}
	revision, err := load(ctx)
	if err != nil {
		return nil, err
	}
	m.leaser, _ = st.(store.Leaser)
	if f, ok := st.(store.Followed); ok {
		m.follower = f.Follow()
	}
	m.setRevision(revision)
	return m, nil
}

// Revision returns the store's revision that memory has.
func (m *Mirror) Revision() store.Revision {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.revision
}

// Changed returns a channel that is closed when a read of memory may give
// another result than before. Take it before reading, or a change in between is
// missed.
func (m *Mirror) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// OnUnknown has f called before the channel of [Mirror.Changed] is closed because of
// anything else than a change that Apply brought, or [Mirror.Notify]: memory was loaded
// again, may no longer be trusted, or may be trusted again. Call it before [Mirror.Run].
func (m *Mirror) OnUnknown(f func()) { m.unknown = f }

// Notify closes the channel of [Mirror.Changed], for changes of what memory
// means that do not come from the store, such as the passing of time.
func (m *Mirror) Notify() {
	m.mu.Lock()
	defer m.mu.Unlock()
	renew(&m.changed)
}

// Err returns nil while memory may be trusted. Once Run has ended it returns an
// error that is [ErrEnded] and wraps the reason; if others use the store too, and it
// does not confirm that memory has what they changed, one that is [store.ErrStale].
func (m *Mirror) Err() error {
	if err := m.whyEnded(); err != nil || m.follower == nil {
		return err
	}
	return m.follower.Err()
}

// whyEnded returns nil until Run has ended.
func (m *Mirror) whyEnded() error {
	if err := m.ended.Load(); err != nil {
		return *err
	}
	return nil
}

// setRevision says that memory has revision. The caller holds mu, or is the only one that has m.
func (m *Mirror) setRevision(revision store.Revision) {
	m.revision = revision
	if m.follower != nil {
		m.follower.Applied(revision)
	}
}

// Wait returns once memory has revision. It returns an error that is [ErrEnded]
// if Run ended before, or the error of ctx.
func (m *Mirror) Wait(ctx context.Context, revision store.Revision) error {
	for {
		m.mu.Lock()
		has, moved, ended := m.revision >= revision, m.moved, m.whyEnded()
		m.mu.Unlock()
		switch {
		case has:
			return nil
		case ended != nil:
			return ended
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// CatchUp returns nil once memory has every change that was committed before the call, by other processes too. Call it
// when memory lacks what another process may just have stored, and before it is told that there is no such thing.
func (m *Mirror) CatchUp(ctx context.Context) error {
	if m.leaser == nil {
		return nil
	}
	revision, err := m.leaser.Newest(ctx)
	if err != nil {
		return err
	}
	return m.Wait(ctx, revision)
}

// Run applies every change of the store to memory, in order, and loads memory
// again when changes were missed. It returns when ctx ends or the store fails;
// then every Wait returns, and memory may no longer be trusted. A Run after another
// has ended loads memory first.
func (m *Mirror) Run(ctx context.Context) error {
	if err := m.begin(); err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	var relay sync.WaitGroup
	if m.follower != nil {
		relay.Go(func() { m.relayChanges(running) })
	}
	err := m.run(ctx)
	stop()
	relay.Wait()
	m.end(err)
	return err
}

// relayChanges tells those who read memory when it may no longer be trusted, or may be again.
func (m *Mirror) relayChanges(ctx context.Context) {
	for {
		changed := m.follower.Changed()
		m.unknown()
		m.Notify()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (m *Mirror) run(ctx context.Context) error {
	if m.whyEnded() != nil {
		if err := m.reload(ctx); err != nil {
			return err
		}
	}
	for {
		err := m.watch(ctx)
		if !errors.Is(err, store.ErrCompacted) {
			return err
		}
		if err := m.reload(ctx); err != nil {
			return err
		}
	}
}

// watch applies changes until Watch of the store ends.
func (m *Mirror) watch(ctx context.Context) error {
	revision := m.Revision()
	for change, err := range m.store.Watch(ctx, revision) {
		if err != nil {
			return err
		}
		if change.Revision != revision+1 {
			return fmt.Errorf("the store yielded revision %d after %d", change.Revision, revision)
		}
		revision = change.Revision
		m.advance(revision, m.apply(change))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.New("the store yields no more changes")
}

// reload loads memory again and trusts it.
func (m *Mirror) reload(ctx context.Context) error {
	var revision store.Revision
	err := store.UntilReachable(ctx, func() (err error) { // meanwhile the lease runs out, and nobody decides
		revision, err = m.load(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("loading memory again: %w", err)
	}
	m.ended.Store(nil)
	m.unknown()
	m.advance(revision, true)
	return nil
}

// advance records that memory has revision and wakes every Wait.
func (m *Mirror) advance(revision store.Revision, changed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setRevision(revision)
	renew(&m.moved)
	if changed {
		renew(&m.changed)
	}
}

func (m *Mirror) begin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running {
		return errRunning
	}
	m.running = true
	return nil
}

// end records why Run ended and wakes every Wait.
func (m *Mirror) end(reason error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ended := fmt.Errorf("%w: %w", ErrEnded, reason)
	m.ended.Store(&ended)
	m.running = false
	m.unknown()
	renew(&m.moved)
	renew(&m.changed)
}

// renew closes a channel, which wakes its receivers, and makes the next one.
func renew(ch *chan struct{}) {
	close(*ch)
	*ch = make(chan struct{})
}
