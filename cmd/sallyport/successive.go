package main

import (
	"context"
	"sync"
)

// runner is what runs until its context ends.
type runner interface {
	Run(ctx context.Context) error
}

// successive runs one runner after the other: always the latest that [successive.Put] named, once the former has ended.
type successive struct {
	changed chan struct{} // has room for one

	mu     sync.Mutex // guards latest
	latest runner     // nil: none
}

func newSuccessive(first runner) *successive {
	return &successive{changed: make(chan struct{}, 1), latest: first}
}

// Put has next run in place of the former runner; nil ends that one alone.
func (s *successive) Put(next runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next == s.latest {
		return
	}
	s.latest = next
	select {
	case s.changed <- struct{}{}:
	default: // Run has not seen the change before
	}
}

func (s *successive) now() runner {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}

// Run runs until ctx ends, or a runner ends by itself.
func (s *successive) Run(ctx context.Context) error {
	for {
		if replaced, err := s.runLatest(ctx); !replaced {
			return err
		}
	}
}

// runLatest runs the latest runner until it ends, and reports whether that was because another takes its place.
func (s *successive) runLatest(ctx context.Context) (replaced bool, err error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	if r := s.now(); r != nil {
		go func() { ended <- r.Run(running) }()
	} else {
		go func() { <-running.Done(); ended <- running.Err() }()
	}
	select {
	case err := <-ended:
		return false, err
	case <-s.changed:
		stop()
		err := <-ended
		return ctx.Err() == nil, err
	}
}
