package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

const handshake = "GET / HTTP/1.1\r\nHost: " + openHost + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// joins is an upstream that takes a handshake, says something with its 101, and repeats what it is told.
func joins(t *testing.T, greeting string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
					"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"+greeting) // RFC 6455 §1.3
				_, _ = io.Copy(conn, in)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// TestSocketsLoseNothing: neither what the client says before it was answered, nor what the upstream says with its
// answer, nor what is on its way when one has no more to say.
func TestSocketsLoseNothing(t *testing.T) {
	const greeting, early = "hello", "I could not wait"
	upstream := joins(t, greeting)
	w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = Upstreams{upstream} })
	conn := w.raw(handshake + early)
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	w.must(err)
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res.Status)
	}
	long := strings.Repeat("more ", 1<<16)
	_, err = io.WriteString(conn, long)
	w.must(err)
	w.must(conn.CloseWrite())
	got, err := io.ReadAll(in)
	if want := greeting + early + long; err != nil || string(got) != want {
		t.Errorf("%d of %d bytes come, %v", len(got), len(want), err)
	}
	w.eventually("nothing is live", func() bool { return w.number("sallyport_live_requests") == 0 })
}

// TestSocketsEndWithRun: whoever stops the server waits for nobody's socket.
func TestSocketsEndWithRun(t *testing.T) {
	upstream := joins(t, "")
	w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = Upstreams{upstream} })
	conn := w.raw(handshake)
	in := bufio.NewReader(conn)
	if res, err := http.ReadResponse(in, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res, err)
	}
	ctx, stop := context.WithCancel(w.ctx)
	stop()
	_ = w.proxy.Run(ctx)
	if _, err := io.ReadAll(in); err != nil && !strings.Contains(err.Error(), "EOF") && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	w.eventually("nothing is live", func() bool { return w.number("sallyport_live_requests") == 0 })
}
