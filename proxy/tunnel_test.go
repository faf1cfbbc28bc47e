package proxy

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sallyport/proxy/internal/upstream"
)

const handshake = "GET / HTTP/1.1\r\nHost: " + openHost + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// webSocketUpstream returns the URL of an upstream that reads an opening handshake and then calls f with the connection
// and its reader.
func webSocketUpstream(t *testing.T, f func(conn io.ReadWriteCloser, in io.Reader)) string {
	t.Helper()
	l := listenTCP(t)
	go acceptEach(l, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		if _, err := http.ReadRequest(in); err == nil {
			f(conn, in)
		}
	})
	return "http://" + l.Addr().String()
}

// switching is the response to handshake (RFC 6455 §1.3).
const switching = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

// echoWebSocketUpstream returns the URL of an upstream that sends a greeting along with its 101 and repeats what it
// receives.
func echoWebSocketUpstream(t *testing.T, greeting string) string {
	t.Helper()
	return webSocketUpstream(t, func(conn io.ReadWriteCloser, in io.Reader) {
		_, _ = io.WriteString(conn, switching+greeting)
		_, _ = io.Copy(conn, in)
	})
}

// TestTunnel_LosesNothing checks that all bytes arrive: those that the client sends right after its handshake, those
// that the upstream sends right after its 101, and those in flight when one side closes its writing side.
func TestTunnel_LosesNothing(t *testing.T) {
	const greeting, ahead = "hello", "sent ahead"
	url := echoWebSocketUpstream(t, greeting)
	w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = Upstreams{url} })
	conn := w.sendRaw(handshake + ahead)
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
	if want := greeting + ahead + long; err != nil || string(got) != want {
		t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
	}
	w.eventually("nothing is live", func() bool { return w.metric("sallyport_live_requests") == 0 })
}

// TestTunnel_OutlivesTimeout checks that a tunnel may be idle for longer than the upstream may take to respond.
func TestTunnel_OutlivesTimeout(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, func(s *Settings) {
		s.Routes[1].Upstream, s.Routes[1].Timeout = Upstreams{echoWebSocketUpstream(t, "")}, time.Second
	})
	conn, in := w.openTunnel("")
	w.must(conn.SetReadDeadline(time.Now().Add(1500 * time.Millisecond)))
	if _, err := in.ReadByte(); !upstream.IsTimeout(err) {
		t.Errorf("the tunnel ended: %v", err)
	}
}

// TestTunnel_EndsWithRun checks that the server closes its tunnels when it stops, with a close frame.
func TestTunnel_EndsWithRun(t *testing.T) {
	url := echoWebSocketUpstream(t, "")
	w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = Upstreams{url} })
	conn := w.sendRaw(handshake)
	in := bufio.NewReader(conn)
	if res, err := http.ReadResponse(in, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res, err)
	}
	ctx, stop := context.WithCancel(w.ctx)
	stop()
	_ = w.proxy.Run(ctx)
	last, err := io.ReadAll(in)
	if err != nil && !strings.Contains(err.Error(), "EOF") && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	if string(last) != "\x88\x02\x03\xe9" { // a close frame with the code 1001
		t.Errorf("the last bytes are %x", last)
	}
	w.eventually("nothing is live", func() bool { return w.metric("sallyport_live_requests") == 0 })
}

// TestFrameTracker checks that frames are tracked however they are split, and that the close frame is only sent between
// two of them.
// TestTunnel_CarriesBothWays checks that messages of all frame sizes pass in both directions, and that the tunnel is
// counted.
func TestTunnel_CarriesBothWays(t *testing.T) {
	w := newWorld(t, nil)
	w.setUpstream(echo)
	conn := dial(w, w.client(false), "https://"+openHost+"/", nil)
	conn.SetReadLimit(-1)
	for _, size := range []int{0, 1, 125, 126, 1 << 16, 1 << 20} {
		sent := bytes.Repeat([]byte{'x'}, size)
		w.must(conn.Write(w.ctx, websocket.MessageBinary, sent))
		if _, got, err := conn.Read(w.ctx); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes: %v", size, err)
		}
	}
	w.must(conn.Close(websocket.StatusNormalClosure, ""))
	w.eventually("nothing is live", func() bool { return w.metric("sallyport_live_requests") == 0 })
	w.eventually("it is counted", func() bool { return w.metric("sallyport_http_requests_total", "route", "open", "code", "101") == 1 })
}
