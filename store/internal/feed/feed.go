// Package feed keeps the newest changes of a store in memory, for those who watch it.
//
// What must hold: the changes in a feed are consecutive, and After yields each of them once, in order, or says that
// some are no longer there.
package feed

import (
	"context"
	"iter"
	"sync"

	"sallyport/store"
)

// A feed keeps the newest changes up to these bounds.
const (
	maxChanges = 4096
	maxBytes   = 64 << 20
)

// Feed is the newest changes. Its methods may be called concurrently.
type Feed struct {
	mu      sync.Mutex     // guards the fields below
	first   store.Revision // of changes[0]
	next    store.Revision // of the next change
	changes []store.Change
	bytes   int
	grown   chan struct{} // closed when After may give another result
	closed  bool
}

// New returns a feed of the changes after revision.
func New(revision store.Revision) *Feed {
	return &Feed{first: revision + 1, next: revision + 1, grown: make(chan struct{})}
}

// Newest returns the revision of the newest change, or the one with which the feed began.
func (f *Feed) Newest() store.Revision {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next - 1
}

// Add appends changes, and drops the oldest beyond the bounds. Changes that the feed has are left out. If changes are
// missing in between, the feed begins anew, and whoever has not seen the former ones has to read everything again.
func (f *Feed) Add(changes []store.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range changes {
		if c.Revision < f.next {
			continue
		}
		if c.Revision > f.next {
			f.changes, f.bytes, f.first = nil, 0, c.Revision
		}
		f.changes = append(f.changes, c)
		f.bytes += size(c)
		f.next = c.Revision + 1
	}
	for len(f.changes) > 1 && (len(f.changes) > maxChanges || f.bytes > maxBytes) {
		f.bytes -= size(f.changes[0])
		f.changes[0] = store.Change{}
		f.changes = f.changes[1:]
		f.first++
	}
	f.wake()
}

// Restart makes the feed begin after revision, without a change.
func (f *Feed) Restart(revision store.Revision) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes, f.bytes, f.first, f.next = nil, 0, revision+1, revision+1
	f.wake()
}

// Wake has those who wait look again, although nothing was added.
func (f *Feed) Wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wake()
}

// wake wakes those who wait; mu is held.
func (f *Feed) wake() {
	if !f.closed {
		close(f.grown)
		f.grown = make(chan struct{})
	}
}

func size(c store.Change) (n int) {
	for _, w := range c.Writes {
		n += len(w.Key) + len(w.Value) + 64
	}
	return n
}

// Close ends the feed: whoever has seen all of its changes gets [store.ErrClosed].
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed = true
		close(f.grown)
	}
}

// Closed reports whether the feed is closed.
func (f *Feed) Closed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// After returns the changes after revision. If there are none yet, it returns a
// channel that is closed when there are.
func (f *Feed) After(revision store.Revision) ([]store.Change, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case revision+1 < f.first:
		return nil, nil, store.ErrCompacted
	case revision+1 < f.next:
		return f.changes[revision+1-f.first:], nil, nil
	case f.closed:
		return nil, nil, store.ErrClosed
	}
	return nil, f.grown, nil
}

// Watch yields every change after a revision, in order, and has wait wait for more: until grown is closed, or for an
// error that ends the watch.
func (f *Feed) Watch(ctx context.Context, after store.Revision, wait func(ctx context.Context, grown <-chan struct{}) error) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) {
		for {
			changes, grown, err := f.After(after)
			if err == nil && grown != nil {
				err = wait(ctx, grown)
			}
			if err != nil {
				yield(store.Change{}, err)
				return
			}
			for _, c := range changes {
				if !yield(c, nil) {
					return
				}
				after = c.Revision
			}
		}
	}
}

// Wait returns when grown is closed, or with the error of ctx.
func Wait(ctx context.Context, grown <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-grown:
		return nil
	}
}
