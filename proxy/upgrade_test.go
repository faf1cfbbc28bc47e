package proxy

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"sallyport/proxy/internal/upstream"
)

// TestUpgrade_WebSocketsAlone checks that Upgrade is removed from every request that is no valid handshake of a
// WebSocket.
func TestUpgrade_WebSocketsAlone(t *testing.T) {
	w := newWorld(t, nil)
	var upgrade atomic.Pointer[string]
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
		u := r.Header.Get("Upgrade")
		upgrade.Store(&u)
	})
	const handshake = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, lines := range []string{
		"GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
		"GET / HTTP/1.1\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n",
		"GET / HTTP/1.1\r\nUpgrade: websocket, h2c\r\nConnection: Upgrade\r\n" + handshake,
		"GET / HTTP/1.1\r\nUpgrade: websocket\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n" + handshake,
		"GET / HTTP/1.1\r\nUpgrade: websocket\r\n" + handshake,
		"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
		"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
		"POST / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n" + handshake,
		"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5\r\n" + handshake,
		"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nTransfer-Encoding: chunked\r\n" + handshake,
	} {
		upgrade.Store(nil)
		body := map[bool]string{true: "hello"}[strings.Contains(lines, "Length: 5")] + map[bool]string{true: "0\r\n\r\n"}[strings.Contains(lines, "chunked")]
		conn := w.sendRaw(lines + "Host: " + openHost + "\r\n\r\n" + body)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		w.must(err)
		if got := upgrade.Load(); res.StatusCode != 200 || got == nil || *got != "" {
			t.Errorf("%q: %d, upstream saw %v", lines, res.StatusCode, got)
		}
		conn.Close()
	}
}

// TestUpgrade_UpstreamCannotSwitchUnasked checks that a 101 is only forwarded if it completes a handshake.
func TestUpgrade_UpstreamCannotSwitchUnasked(t *testing.T) {
	const accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" // of the key below (RFC 6455 §1.3)
	for name, c := range map[string]struct {
		response  string
		webSocket bool
		code      int
	}{
		"valid":               {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + accept + "\r\n", true, 101},
		"without request":     {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + accept + "\r\n", false, 502},
		"to h2c":              {"HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n" + accept + "\r\n", true, 502},
		"without Upgrade":     {"HTTP/1.1 101 x\r\nConnection: Upgrade\r\n" + accept + "\r\n", true, 502},
		"two protocols":       {"HTTP/1.1 101 x\r\nUpgrade: websocket, h2c\r\nConnection: Upgrade\r\n" + accept + "\r\n", true, 502},
		"without accept key":  {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", true, 502},
		"wrong accept key":    {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n", true, 502},
		"not HTTP":            {"SSH-2.0-OpenSSH\r\n\r\n", false, 502},
		"empty line":          {"\r\n", false, 502},
		"headers without end": {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*upstream.MaxHeaderBytes) + "\r\n\r\n", false, 502},
		"invalid status":      {"HTTP/1.1 099 x\r\nContent-Length: 0\r\n\r\n", false, 502},
		"two lengths":         {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", false, 502},
		"denied handshake":    {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", true, 403},
	} {
		t.Run(name, func(t *testing.T) {
			url := rawUpstream(t, c.response)
			w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = Upstreams{url} })
			lines := "GET / HTTP/1.1\r\nHost: " + openHost + "\r\nAccept: application/json\r\n"
			if c.webSocket {
				lines += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
			}
			res, err := http.ReadResponse(bufio.NewReader(w.sendRaw(lines+"\r\n")), nil)
			w.must(err)
			if res.StatusCode != c.code {
				body, _ := io.ReadAll(res.Body)
				t.Errorf("%d %s", res.StatusCode, body)
			}
			if c.code == 502 && w.metric("sallyport_upstream_errors_total", "route", "open", "reason", string(upstreamUnavailable)) != 1 {
				t.Error("the error is not counted")
			}
		})
	}
}
