package listen

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestIdleTracker_ClosesIdleConnections: idle connections are closed, connections in use are not, and no timer outlives
// its connection.
func TestIdleTracker_ClosesIdleConnections(t *testing.T) {
	idle := newIdleTracker(200 * time.Millisecond)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }))
	s.Config.ConnState = idle.track
	s.Start()
	defer s.Close()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	br := bufio.NewReader(conn)
	for range 2 {
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	start := time.Now()
	if _, err := br.ReadByte(); !errors.Is(err, io.EOF) || time.Since(start) < 100*time.Millisecond {
		t.Errorf("an idle connection ends with %v after %s", err, time.Since(start))
	}
	s.CloseClientConnections()
	s.Close() // waits until all connections have ended
	idle.mu.Lock()
	defer idle.mu.Unlock()
	if len(idle.timers) != 0 {
		t.Errorf("%d timers are left", len(idle.timers))
	}
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
