package bolt

import (
	"context"
	"iter"
	"sync"

	"sallyport/store"
)

// The feed keeps the newest changes up to these bounds.
const (
	maxChanges = 4096
	maxBytes   = 64 << 20
)

// feed keeps the newest changes in memory and wakes the callers of Watch.
type feed struct {
	mu      sync.Mutex     // guards the fields below
	first   store.Revision // of changes[0]
	next    store.Revision // of the next change
	changes []store.Change
	bytes   int
	grown   chan struct{} // closed when there are more changes, or when the store is closed
	closed  bool
}

func newFeed(revision store.Revision) *feed {
	return &feed{first: revision + 1, next: revision + 1, grown: make(chan struct{})}
}

func (f *feed) add(changes []store.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range changes {
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
	close(f.grown)
	f.grown = make(chan struct{})
}

func size(c store.Change) (n int) {
	for _, w := range c.Writes {
		n += len(w.Key) + len(w.Value) + 64
	}
	return n
}

func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed = true
		close(f.grown)
	}
}

// ended reports whether the feed is closed.
func (f *feed) ended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// after returns the changes after revision. If there are none yet, it returns a
// channel that is closed when there are.
func (f *feed) after(revision store.Revision) ([]store.Change, <-chan struct{}, error) {
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

// Watch yields every change after a revision, in order, and waits for more.
func (s *Store) Watch(ctx context.Context, after store.Revision) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) {
		for {
			changes, more, err := s.feed.after(after)
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
			if more == nil {
				continue
			}
			select {
			case <-ctx.Done():
				yield(store.Change{}, ctx.Err())
				return
			case <-more:
			}
		}
	}
}
