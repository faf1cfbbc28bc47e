package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"sallyport/listen"
)

// serving is a server that is open.
type serving struct {
	*listen.Server
	terms
	activated bool            // systemd has opened the listener
	alive     context.Context // ends when Run has returned
	ended     func()          // ends alive
	stop      func()          // has Run return; nil before Run is called
}

// listeners are the servers of this process. A reload replaces some of them.
type listeners struct {
	mu       sync.Mutex // guards what follows
	current  []*serving
	leaving  []*serving     // replaced, with requests that are under way
	begin    func(*serving) // runs a server; nil while servers do not run
	finish   func(*serving) // ends one that was replaced; nil like begin
	outdated bool           // a reload came too late to replace any
}

// replace has next take the place of the current servers; gone are those that are not among next. New ones accept before former
// ones cease to.
func (l *listeners) replace(next, gone []*serving) {
	l.mu.Lock()
	defer l.mu.Unlock()
	former := l.current
	l.current = next
	for _, srv := range next {
		if l.begin != nil && !slices.Contains(former, srv) {
			l.begin(srv)
		}
	}
	for _, srv := range gone {
		if l.finish == nil {
			_ = srv.Close()
			continue
		}
		srv.StopAccepting()
		l.leaving = append(l.leaving, srv)
		l.finish(srv)
	}
}

// run runs the servers, and from then on those that take their places.
func (l *listeners) run(begin, finish func(*serving)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin, l.finish = begin, finish
	for _, srv := range l.current {
		begin(srv)
	}
}

// end has no server run from now on that does not yet.
func (l *listeners) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin, l.finish = nil, nil
}

// forget notes that a server has ended.
func (l *listeners) forget(srv *serving) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving = slices.DeleteFunc(l.leaving, func(other *serving) bool { return other == srv })
}

// all returns every server, those that were replaced too.
func (l *listeners) all() []*serving {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Concat(l.current, l.leaving)
}

// servers returns the current servers.
func (l *listeners) servers() []*serving {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.current)
}

// find returns the current server with a name, or nil.
func (l *listeners) find(name string) *serving {
	for _, srv := range l.servers() {
		if srv.Name() == name {
			return srv
		}
	}
	return nil
}

// connected reports whether a client has a connection.
func (l *listeners) connected() bool {
	return slices.ContainsFunc(l.all(), func(srv *serving) bool { return srv.Connections() > 0 })
}

// abort ends every request at once.
func (l *listeners) abort() {
	for _, srv := range l.all() {
		srv.Abort()
	}
}

// runServers serves until ctx ends or one of the servers fails, and then shuts all of them down. Those for operators shut
// down last: while requests are under way, somebody may have to be suspended, and /readyz says that the server stops.
func (s *server) runServers(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	forOperators, stopOperators := context.WithCancel(context.WithoutCancel(ctx))
	var forClients sync.WaitGroup
	begin := func(srv *serving) {
		s.log.Info("listening", "server", srv.Name(), "addr", srv.Addr().String())
		within, done := ctx, forClients.Done
		if isForOperators(srv.Name()) {
			within, done = forOperators, func() {}
		} else {
			forClients.Add(1)
		}
		within, srv.stop = context.WithCancel(within)
		g.Go(func() error {
			defer done()
			defer srv.ended()
			defer s.listeners.forget(srv)
			return srv.Run(within)
		})
	}
	s.listeners.run(begin, func(srv *serving) { g.Go(func() error { s.finish(srv); return nil }) })
	g.Go(func() error {
		defer stopOperators()
		<-ctx.Done()
		s.listeners.end() // none is added to those that are waited for
		forClients.Wait()
		return nil
	})
	s.notify("READY=1") // a connection waits in the queue of its listener until it is accepted
	return g.Wait()
}

// finish ends a server that a reload has replaced, as a stop of the process does: what is under way may go on for listen.grace,
// and streams for listen.stream_grace.
func (s *server) finish(srv *serving) {
	times := s.inForce.Load().Listen
	s.log.Info("a server was replaced or removed, and ends with what is under way", "server", srv.Name(), "addr", srv.Addr().String(), "grace", times.Grace.String(), "stream_grace", times.Streams().String())
	ctx, stop := context.WithTimeout(srv.alive, times.Grace)
	defer stop()
	s.endStreams(ctx, times.Streams(), srv.Serves, func() bool { return srv.Connections() > 0 })
	srv.Abort()
	srv.stop()
}

// endStreams ends WebSockets, streams and downloads, of the requests for whose contexts of returns true, once they have gone on
// for limit. It returns when ctx ends, or when connected returns false.
func (s *server) endStreams(ctx context.Context, limit time.Duration, of func(context.Context) bool, connected func() bool) {
	for wait(ctx, limit); ctx.Err() == nil; wait(ctx, time.Second) {
		s.proxy.EndStreams(limit, of)
		if !connected() {
			return
		}
	}
}
