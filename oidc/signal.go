package oidc

import "sync"

// signal tells any number of waiters that something changed. The zero value is ready.
type signal struct {
	mu   sync.Mutex    // guards next
	next chan struct{} // closed by the next change; nil if nobody waits
}

// channel returns a channel that the next change closes.
func (s *signal) channel() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = make(chan struct{})
	}
	return s.next
}

// notify tells everybody who waits.
func (s *signal) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil {
		close(s.next)
		s.next = nil
	}
}
