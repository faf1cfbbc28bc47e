package bolt

import (
	"context"
	"iter"
	"sync"

	"sallyport/store"
)

// How much of the past the feed keeps for those who follow it.
const (
	keptChanges = 4096
	keptBytes   = 64 << 20
)

// feed keeps the newest changes in memory and wakes those who follow.
type feed struct {
	mu      sync.Mutex     // guards what follows
	first   store.Revision // of changes[0]
	next    store.Revision // of the change to come
	changes []store.Change
	bytes   int
	grown   chan struct{} // closed when there is more, or no more ever
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
	for len(f.changes) > 1 && (len(f.changes) > keptChanges || f.bytes > keptBytes) {
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

// after is what is kept beyond revision, or a channel to wait on for more.
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
