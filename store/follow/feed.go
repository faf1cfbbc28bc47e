package follow

import (
	"slices"
	"sync"
)

// maxFeed is how many of the newest items a [Feed] keeps for readers.
const maxFeed = 4096

// Feed says what the newest changes of memory were about, so that whoever depends on memory can look at that part again
// instead of everything. Readers keep their own positions. A reader that came too late, and every reader after
// [Feed.AddUnknown], is told to look at everything: a Feed may say too much, but never too little.
//
// What must hold: an item is added after memory has its change, and before the channel of [Mirror.Changed] is closed for
// it. A reader takes the channel first, then reads the Feed, then memory. It then reads memory that has the change of
// every item that it was told of, and is woken for every later one. The zero value is ready.
type Feed[T any] struct {
	mu    sync.Mutex // guards the fields below
	items []T        // the newest
	next  uint64     // the position after the last item
}

// Add says what changes of memory were about.
func (f *Feed[T]) Add(items ...T) {
	if len(items) > maxFeed {
		f.AddUnknown()
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.items = append(f.items, items...)
	f.next += uint64(len(items))
	if len(f.items) > 2*maxFeed {
		f.items = slices.Clone(f.items[len(f.items)-maxFeed:])
	}
}

// AddUnknown says that anything may have changed.
func (f *Feed[T]) AddUnknown() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.items = nil
	f.next++
}

// Since returns what was added after a position, and the position of now. It reports false if that is not known, so that
// anything may have changed. Nothing was added after position 0 before the first change.
func (f *Feed[T]) Since(position uint64) (items []T, now uint64, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	oldest := f.next - uint64(len(f.items))
	if position < oldest || position > f.next {
		return nil, f.next, false
	}
	return slices.Clone(f.items[position-oldest:]), f.next, true
}
