package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	headerTimeout = 10 * time.Second // for a request's headers to arrive
	idleTimeout   = 2 * time.Minute  // for a kept connection's next request
	headerBytes   = 64 << 10         // of all headers together
	maxStreams    = 100              // HTTP/2 streams on one connection
)

// door is one listener and the HTTP server on it.
type door struct {
	name     string
	listen   func() (net.Listener, error)
	listener net.Listener
	server   *http.Server
	cancel   context.CancelFunc // ends every request's context
}

// newDoor is a door that is not open yet; secure nil means plain HTTP.
func newDoor(name string, listen func() (net.Listener, error), h http.Handler, secure *tls.Config, log *slog.Logger) *door {
	base, cancel := context.WithCancel(context.Background())
	return &door{name: name, listen: listen, cancel: cancel, server: &http.Server{
		Handler:           h,
		TLSConfig:         secure,
		ReadHeaderTimeout: headerTimeout,
		ConnState:         newIdlers(idleTimeout).note,
		MaxHeaderBytes:    headerBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          slog.NewLogLogger(log.With("door", name).Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return base },
	}}
}

func (d *door) open() (err error) {
	if d.listener, err = d.listen(); err != nil {
		return fmt.Errorf("opening the %s listener: %w", d.name, err)
	}
	return nil
}

func (d *door) serve() error {
	var err error
	if d.server.TLSConfig != nil {
		err = d.server.ServeTLS(d.listener, "", "")
	} else {
		err = d.server.Serve(d.listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving on the %s listener: %w", d.name, err)
}

// closeDoors lets requests under way finish within the grace period, then ends
// what is left. Shutdown does not know of hijacked connections (WebSockets), so
// those end by their context.
func closeDoors(doors []*door) {
	ctx, stop := context.WithTimeout(context.Background(), grace)
	defer stop()
	var all sync.WaitGroup
	for _, d := range doors {
		all.Go(func() {
			_ = d.server.Shutdown(ctx)
			d.cancel()
			_ = d.server.Close()
		})
	}
	all.Wait()
}
