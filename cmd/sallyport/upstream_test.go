package main

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// newUpstream returns an application with every kind of long exchange: a WebSocket that echoes, a stream of server-sent
// events, a slow download, and an upload that is read until it ends.
func newUpstream(t testing.TB) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s\n", r.Header.Get("X-Forwarded-User"))
	})
	mux.HandleFunc("/where", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.Header["X-Forwarded-For"], r.Header["X-Forwarded-Proto"])
	})
	mux.HandleFunc("/identity", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.Header.Get("X-Forwarded-Groups"), r.Header.Get("X-Sallyport-Assertion"))
	})
	mux.HandleFunc("/socket", echo)
	mux.HandleFunc("/quiet", quiet)
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		trickle(w, r, "data: tick\n\n")
	})
	mux.HandleFunc("/download", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		trickle(w, r, "0123456789abcdef")
	})
	mux.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintln(w, n)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// echo is a WebSocket that returns every message.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		kind, data, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, data) != nil {
			return
		}
	}
}

// quiet is a WebSocket that sends nothing and uses as little memory as possible.
func quiet(w http.ResponseWriter, r *http.Request) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	_ = rw.Flush()
	go func() {
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.Close()
	}()
}

// trickle writes piece again and again until the client goes away.
func trickle(w http.ResponseWriter, r *http.Request, piece string) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := io.WriteString(w, piece); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}
