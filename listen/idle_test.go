package listen

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestIdleTracker_ClosesIdleConnections: idle connections are closed, connections in use are not, and no timer outlives
// its connection.
func TestIdleTracker_ClosesIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idle := newIdleTracker(time.Minute)
		l := &memoryListener{dialed: make(chan net.Conn), closed: make(chan struct{})}
		s := &http.Server{ConnState: idle.track, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Hour)
			_, _ = io.WriteString(w, "here")
		})}
		var serving sync.WaitGroup
		serving.Go(func() { _ = s.Serve(l) })
		conn, served := net.Pipe()
		l.dialed <- served
		br := bufio.NewReader(conn)
		for range 3 {
			time.Sleep(time.Minute - time.Nanosecond)
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
		}
		start := time.Now()
		if _, err := br.ReadByte(); !errors.Is(err, io.EOF) || time.Since(start) != time.Minute {
			t.Errorf("an idle connection ends with %v after %s", err, time.Since(start))
		}
		_ = s.Close()
		serving.Wait()
		synctest.Wait()
		idle.mu.Lock()
		defer idle.mu.Unlock()
		if len(idle.timers) != 0 {
			t.Errorf("%d timers are left", len(idle.timers))
		}
	})
}

// TestIdleTracker_ShortTimeoutBeyondMaxIdle: with many idle connections, further ones are closed sooner.
func TestIdleTracker_ShortTimeoutBeyondMaxIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idle := newIdleTracker(time.Minute)
		idle.maxIdle = 2
		start, ended := time.Now(), make([]time.Duration, 4)
		var all sync.WaitGroup
		for i := range ended {
			server, client := net.Pipe()
			idle.track(server, http.StateIdle)
			all.Go(func() {
				_, _ = client.Read(make([]byte, 1))
				ended[i] = time.Since(start)
			})
		}
		all.Wait()
		if want := []time.Duration{time.Minute, time.Minute, shortIdleTimeout, shortIdleTimeout}; !slices.Equal(ended, want) {
			t.Errorf("they end after %v", ended)
		}
	})
}
