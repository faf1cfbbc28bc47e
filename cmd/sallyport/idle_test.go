package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
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

// TestAPushThatNeverComes holds no connection to the listener of pushes, nor does one that is refused.
func TestAPushThatNeverComes(t *testing.T) {
	s := newStage(t)
	for name, request := range map[string]string{
		"without a token":            "POST /scim/v2/Users HTTP/1.1\r\nHost: " + loginHost + "\r\nContent-Length: 100\r\n\r\n",
		"to the token endpoint":      "POST /scim/token HTTP/1.1\r\nHost: " + loginHost + "\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n",
		"to a path that is none":     "POST /nothing HTTP/1.1\r\nHost: " + loginHost + "\r\nContent-Length: 100\r\n\r\n",
		"of a GET that is answered":  "GET /scim/v2/ServiceProviderConfig HTTP/1.1\r\nHost: " + loginHost + "\r\nAuthorization: Bearer " + s.push.token + "\r\nContent-Length: 100\r\n\r\n",
		"with a token that is wrong": "PATCH /scim/v2/Users/1 HTTP/1.1\r\nHost: " + loginHost + "\r\nAuthorization: Bearer x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := tls.Dial("tcp", s.server.addrs["scim"], &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = io.WriteString(conn, request)
			answer, err := io.ReadAll(conn)
			if wait := net.Error(nil); errors.As(err, &wait) && wait.Timeout() {
				t.Errorf("the connection stays open: %.40q", answer)
			}
		})
	}
}

// TestAHandshakeThatStalls is waited for as long as a request's headers are.
func TestAHandshakeThatStalls(t *testing.T) {
	s := newStage(t)
	var all sync.WaitGroup
	for _, door := range []string{"public", "scim"} {
		for _, hello := range []string{"", "\x16\x03\x01", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"} {
			conn, err := net.Dial("tcp", s.server.addrs[door])
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(2 * headerTimeout))
				_, _ = io.WriteString(conn, hello)
				if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s: after %x it waits for more", door, hello)
				}
			})
		}
	}
	all.Wait()
}

// TestACrowdOfIdleConnections: beyond so many, further ones end sooner.
func TestACrowdOfIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idle := newIdlers(time.Minute)
		idle.crowded = 2
		begun, ended := time.Now(), make([]time.Duration, 4)
		var all sync.WaitGroup
		for i := range ended {
			here, there := net.Pipe()
			idle.note(here, http.StateIdle)
			all.Go(func() {
				_, _ = there.Read(make([]byte, 1))
				ended[i] = time.Since(begun)
			})
		}
		all.Wait()
		if want := []time.Duration{time.Minute, time.Minute, crowdedAfter, crowdedAfter}; !slices.Equal(ended, want) {
			t.Errorf("they end after %v", ended)
		}
	})
}
