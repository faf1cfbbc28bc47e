package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"sallyport/listen"
)

// operatorsGrace is how long requests to the listeners for operators may take after all others have ended.
const operatorsGrace = 5 * time.Second

// stopOn waits until stop ends, which means that a first SIGTERM or SIGINT came, and then stops in three steps: /readyz
// says so while the listeners still accept (listen.drain), then they close while requests under way finish (listen.grace, and
// listen.stream_grace for streams), then what is left is ended. If another process has taken over, requests under way finish
// at once. A second signal ends everything at once. stopOn returns when ctx ends, or after the last step.
func (s *server) stopOn(stop, ctx context.Context, shutDown func()) {
	select {
	case <-ctx.Done():
		return
	case <-stop.Done():
		s.succession.mu.Lock() // an upgrade that is under way ends, either way
		defer s.succession.mu.Unlock()
	case <-s.succession.handed:
	}
	times := s.inForce.Load().Listen
	atOnce, restore := afterSecondSignal(stop, ctx)
	defer restore()
	if !s.succession.isHanded() {
		s.stopping.Store(true)
		s.notify("STOPPING=1")
		s.log.Info("stopping", "drain", times.Drain.String(), "grace", times.Grace.String(), "stream_grace", times.Streams().String())
		wait(atOnce, times.Drain)
		shutDown()
	}
	s.endAllStreams(atOnce, times)
	shutDown()
	if ctx.Err() == nil {
		s.log.Info("ending the requests that are under way")
	}
	s.listeners.abort()
}

// afterSecondSignal returns a context that ends with ctx, or when a signal comes after the one that has ended stop.
func afterSecondSignal(stop, ctx context.Context) (atOnce context.Context, restore func()) {
	if stop.Err() != nil {
		return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	}
	atOnce, end := context.WithCancel(ctx)
	release := context.AfterFunc(stop, func() {
		second, restore := signal.NotifyContext(atOnce, os.Interrupt, syscall.SIGTERM)
		defer restore()
		<-second.Done()
		end()
	})
	return atOnce, func() { release(); end() }
}

// endAllStreams ends WebSockets, streams and downloads once they have gone on for listen.stream_grace. It returns when ctx ends,
// or when everything that is under way has had its time. After another process has taken over, it also returns when no client
// has a connection any more.
func (s *server) endAllStreams(ctx context.Context, times listen.Settings) {
	limit := times.Grace
	if !s.succession.isHanded() {
		limit += operatorsGrace
	}
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	all := func(context.Context) bool { return true }
	s.endStreams(ctx, times.Streams(), all, func() bool { return !s.succession.isHanded() || s.listeners.connected() })
}

// wait waits for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
