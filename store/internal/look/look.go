// Package look has many callers share one look at something that changes.
//
// What must hold: a caller is never given what was found by a look that began before the call.
package look

import (
	"context"
	"sync"
)

// Shared is a look that callers share: there is one at a time, and all who call meanwhile share the next one. Its methods
// may be called concurrently.
type Shared[T any] struct {
	look func() (T, error) // bounds its own time

	mu      sync.Mutex // guards the fields below
	running bool
	next    *pending[T] // that has not begun; nil if nobody waits for one
}

// pending is a look that callers wait for.
type pending[T any] struct {
	done  chan struct{} // closed once the fields below are set
	found T
	err   error
}

// New returns a look that is done by the function look.
func New[T any](look func() (T, error)) *Shared[T] { return &Shared[T]{look: look} }

// Do returns what a look found that began after the call. It returns the error of ctx if ctx ends before.
func (s *Shared[T]) Do(ctx context.Context) (found T, err error) {
	p := s.join()
	select {
	case <-p.done:
		return p.found, p.err
	case <-ctx.Done():
		return found, ctx.Err()
	}
}

// join returns the next look, which it has begin if none is under way.
func (s *Shared[T]) join() *pending[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = &pending[T]{done: make(chan struct{})}
	}
	p := s.next
	if !s.running {
		s.running = true
		go s.run()
	}
	return p
}

// run does the looks that callers wait for, one after the other.
func (s *Shared[T]) run() {
	for p := s.begin(); p != nil; p = s.begin() {
		p.found, p.err = s.look()
		close(p.done)
	}
}

// begin returns the next look, which nobody can join any more; nil if nobody waits for one.
func (s *Shared[T]) begin() *pending[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.next
	s.next, s.running = nil, p != nil
	return p
}
