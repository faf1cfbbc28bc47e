// Package liveset holds values that are asked again when facts change: the live requests of the proxy.
//
// What must hold: whoever looks for the entries that a change touches finds every entry that was added before. So if an
// entry is added before its first decision is made, and a change is in memory before entries are looked for, then each
// entry is either found, or its first decision is made with the change: nothing that was decided without a change is missed
// by the look that follows the change.
//
// An entry is indexed by its [Subject], which is known when it is added and never changes, so that there is no time at
// which an entry is in the set and not in the index. Entries without a subject are in the set alone.
package liveset

import (
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Subject is what the decision about an entry depends on, beside what everybody's depends on: a user by the directory's
// id, or whoever has a name. The zero Subject is none.
type Subject struct {
	name  string
	named bool // name is one that a user has, and that another may have later; or else it is an id
}

// User returns the Subject of a user with an id. Without one there is no subject.
func User(id string) Subject { return Subject{name: id} }

// Named returns the Subject of whoever has a name. Without one there is no subject.
func Named(name string) Subject { return Subject{name: name, named: name != ""} }

// buckets is how many lists the entries are spread over.
const buckets = 4096

// Set is a set of entries. Its methods may be called concurrently.
type Set[T any] struct {
	seed    maphash.Seed
	count   atomic.Int64
	buckets [buckets]bucket[T]
	due     due[T]
}

// New returns an empty set.
func New[T any]() *Set[T] { return &Set[T]{seed: maphash.MakeSeed()} }

// bucket is a list of entries, of all subjects with one hash.
type bucket[T any] struct {
	mu    sync.Mutex // guards first, and the links of the entries of the bucket
	first *Entry[T]
}

// Entry is the place of a value in a set. The zero Entry can be added once, to one set.
type Entry[T any] struct {
	value      T
	subject    Subject
	bucket     *bucket[T]
	prev, next *Entry[T]

	at      time.Time    // when the entry is due; guarded by the mutex of due
	index   atomic.Int64 // 1 + its place in the heap, or 0; written under the mutex of due
	removed atomic.Bool
}

// Add adds a value to the set, at the place e.
func (s *Set[T]) Add(e *Entry[T], value T, subject Subject) {
	e.value, e.subject, e.bucket = value, subject, s.bucketOf(subject)
	s.count.Add(1)
	b := e.bucket
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.next = b.first; e.next != nil {
		e.next.prev = e
	}
	b.first = e
}

// bucketOf returns the bucket of a subject; any bucket for none.
func (s *Set[T]) bucketOf(subject Subject) *bucket[T] {
	if subject.name == "" {
		return &s.buckets[rand.Uint64()%buckets] //nolint:gosec // nobody gains by guessing it
	}
	return &s.buckets[maphash.String(s.seed, subject.name)%buckets]
}

// Remove removes an entry that was added.
func (s *Set[T]) Remove(e *Entry[T]) {
	s.count.Add(-1)
	e.unlink()
	e.removed.Store(true) // before the look at index; push looks at removed after it has set index
	if e.index.Load() != 0 {
		s.due.remove(e)
	}
}

func (e *Entry[T]) unlink() {
	e.bucket.mu.Lock()
	defer e.bucket.mu.Unlock()
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		e.bucket.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
}

// Len returns how many entries the set has.
func (s *Set[T]) Len() int { return int(s.count.Load()) }

// All returns the values of all entries.
func (s *Set[T]) All() []T { return s.Part(0, 1) }

// Part returns the values of the i-th of n parts of the entries. An entry stays in its part.
func (s *Set[T]) Part(i, n int) []T {
	list := make([]T, 0, s.Len()/n+1)
	for b := i * buckets / n; b < (i+1)*buckets/n; b++ {
		list = s.buckets[b].appendTo(list, func(Subject) bool { return true })
	}
	return list
}

// Of returns the values of the entries of subjects. It takes a time that does not depend on how many entries others have.
func (s *Set[T]) Of(subjects map[Subject]bool) (list []T) {
	for subject := range subjects {
		if subject.name != "" {
			list = s.bucketOf(subject).appendTo(list, func(other Subject) bool { return other == subject })
		}
	}
	return list
}

// appendTo appends the values of those entries whose subject is wanted.
func (b *bucket[T]) appendTo(list []T, wanted func(Subject) bool) []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	for e := b.first; e != nil; e = e.next {
		if wanted(e.subject) {
			list = append(list, e.value)
		}
	}
	return list
}
