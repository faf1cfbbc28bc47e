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
// listen.stream_grace for streams), then what is left is ended. A second signal ends everything at once. stopOn returns when ctx ends, or after the last
// step.
func (s *server) stopOn(stop, ctx context.Context, shutDown func(), servers []*listen.Server) {
	select {
	case <-ctx.Done():
		return
	case <-stop.Done():
	}
	atOnce, restore := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer restore()
	s.stopping.Store(true)
	s.notify("STOPPING=1")
	s.log.Info("stopping", "drain", s.file.Listen.Drain.String(), "grace", s.file.Listen.Grace.String(), "stream_grace", s.file.Listen.Streams().String())
	wait(atOnce, s.file.Listen.Drain)
	shutDown()
	s.endStreams(atOnce)
	if ctx.Err() == nil {
		s.log.Info("ending the requests that are under way")
	}
	for _, srv := range servers {
		srv.Abort()
	}
}

// endStreams ends WebSockets, streams and downloads once they have gone on for listen.stream_grace. It returns when ctx ends,
// or when everything that is under way has had its time.
func (s *server) endStreams(ctx context.Context) {
	const interval = time.Second
	streams := s.file.Listen.Streams()
	ctx, stop := context.WithTimeout(ctx, s.file.Listen.Grace+operatorsGrace)
	defer stop()
	for wait(ctx, streams); ctx.Err() == nil; wait(ctx, interval) {
		s.proxy.EndStreams(streams)
	}
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
