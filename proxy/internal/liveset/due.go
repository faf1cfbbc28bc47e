package liveset

import (
	"container/heap"
	"sync"
	"time"
)

// due is a heap of the entries that are to be looked at again at some time, the earliest first.
type due[T any] struct {
	mu      sync.Mutex // guards entries, and the times and places of the entries in it
	entries byTime[T]
}

// Schedule makes an entry due at a time, unless it is due before. An entry that was removed is never due.
func (s *Set[T]) Schedule(e *Entry[T], at time.Time) {
	s.due.push(e, at)
	if e.removed.Load() {
		s.due.remove(e)
	}
}

// Due returns the values of the entries that are due at now. They are not due any more until they are scheduled again.
func (s *Set[T]) Due(now time.Time) (list []T) {
	d := &s.due
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.entries) > 0 && !now.Before(d.entries[0].at) {
		list = append(list, heap.Pop(&d.entries).(*Entry[T]).value)
	}
	return list
}

func (d *due[T]) push(e *Entry[T], at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch i := int(e.index.Load()) - 1; {
	case i < 0:
		e.at = at
		heap.Push(&d.entries, e)
	case at.Before(e.at):
		e.at = at
		heap.Fix(&d.entries, i)
	}
}

func (d *due[T]) remove(e *Entry[T]) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := int(e.index.Load()) - 1; i >= 0 {
		heap.Remove(&d.entries, i)
	}
}

// byTime implements [heap.Interface].
type byTime[T any] []*Entry[T]

func (h byTime[T]) Len() int           { return len(h) }
func (h byTime[T]) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

// Swap implements [heap.Interface].
func (h byTime[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index.Store(int64(i + 1))
	h[j].index.Store(int64(j + 1))
}

// Push implements [heap.Interface].
func (h *byTime[T]) Push(x any) {
	e := x.(*Entry[T])
	*h = append(*h, e)
	e.index.Store(int64(len(*h)))
}

// Pop implements [heap.Interface].
func (h *byTime[T]) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	e.index.Store(0)
	return e
}
