package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestIdleConnectionsEnd, and those that are used do not; the timers go with their
// connections.
func TestIdleConnectionsEnd(t *testing.T) {
	idle := newIdlers(200 * time.Millisecond)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }))
	s.Config.ConnState = idle.note
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
	}
	begun := time.Now()
	if _, err := br.ReadByte(); !errors.Is(err, io.EOF) || time.Since(begun) < 100*time.Millisecond {
		t.Errorf("an idle connection ends with %v after %s", err, time.Since(begun))
	}
	s.CloseClientConnections()
	s.Close() // waits until the connections are over
	idle.mu.Lock()
	defer idle.mu.Unlock()
	if len(idle.timers) != 0 {
		t.Errorf("%d timers are left", len(idle.timers))
	}
}
