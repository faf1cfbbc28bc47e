package sink_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/audit/sink"
)

// pipes is a listener in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error { return nil }

func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// TestSink_AfterAnHour: a receiver that is down for an hour gets everything within a minute or so, in order; it is tried
// about once a minute meanwhile, and nobody who writes the record waits.
func TestSink_AfterAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, to := newRecord(t), &siem{collector: &collector{t: t}}
		ln := pipes{make(chan net.Conn), make(chan struct{})}
		server := &http.Server{Handler: to, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(ln) }()
		defer func() { close(ln.done); _ = server.Close() }()
		var up atomic.Bool
		var attempts atomic.Int64
		s, err := sink.Open([]sink.Settings{{Name: "siem", From: "start", HTTPS: &sink.HTTPS{Endpoint: sink.Endpoint{URL: "http://localhost/"}}}}, r.path, r.log, slog.New(slog.DiscardHandler))
		must(t, err)
		s.Dial(func(ctx context.Context, _, _ string) (net.Conn, error) {
			attempts.Add(1)
			if !up.Load() {
				return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
			}
			client, server := net.Pipe()
			select {
			case ln.conns <- server:
				return client, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = s.Run(ctx) }()
		defer func() { stop(); <-ended }()
		for range 60 {
			began := time.Now()
			r.write(20)
			if waited := time.Since(began); waited > 0 {
				t.Errorf("writing 20 lines takes %s", waited)
			}
			time.Sleep(time.Minute)
		}
		if n := attempts.Load(); n < 45 || n > 100 || len(to.all()) > 0 {
			t.Errorf("%d attempts in an hour; %d lines arrived", n, len(to.all()))
		}
		up.Store(true)
		time.Sleep(80 * time.Second)
		to.demandAll(r)
		if got := len(to.all()); got < 1200 {
			t.Errorf("%d lines arrived of 1200", got)
		}
	})
}
