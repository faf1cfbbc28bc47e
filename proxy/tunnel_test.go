package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/proxy/internal/upstream"
)

const handshake = "GET / HTTP/1.1\r\nHost: " + openHost + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// acceptWebSockets returns the URL of an upstream that accepts the handshake of RFC 6455 §1.3 and then calls f with the
// connection and its reader.
func acceptWebSockets(t *testing.T, f func(conn io.ReadWriteCloser, in io.Reader)) string {
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
				f(conn, in)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// switching is the 101 to handshake.
const switching = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

// echoTunnel returns the URL of an upstream that sends a greeting along with its 101 and repeats what it receives.
func echoTunnel(t *testing.T, greeting string) string {
	t.Helper()
	return acceptWebSockets(t, func(conn io.ReadWriteCloser, in io.Reader) {
		_, _ = io.WriteString(conn, switching+greeting)
		_, _ = io.Copy(conn, in)
	})
}

// TestTunnel_LosesNothing checks that bytes arrive that the client sends along with its handshake, that the upstream
// sends along with its 101, and that are under way when one side closes its writing side.
func TestTunnel_LosesNothing(t *testing.T) {
	const greeting, ahead = "hello", "I could not wait"
	url := echoTunnel(t, greeting)
	w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = Upstreams{url} })
	conn := w.raw(handshake + ahead)
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
		t.Errorf("%d of %d bytes come, %v", len(got), len(want), err)
	}
	w.eventually("nothing is live", func() bool { return w.number("sallyport_live_requests") == 0 })
}

// TestTunnel_OutlivesTimeout checks that a tunnel may be idle for longer than the upstream may take to respond.
func TestTunnel_OutlivesTimeout(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		s.Routes[1].Upstream, s.Routes[1].Timeout = Upstreams{echoTunnel(t, "")}, 100*time.Millisecond
	})
	conn := w.raw(handshake)
	in := bufio.NewReader(conn)
	_, err := http.ReadResponse(in, nil)
	w.must(err)
	w.must(conn.SetReadDeadline(time.Now().Add(time.Second)))
	if _, err := in.ReadByte(); !upstream.IsTimeout(err) {
		t.Errorf("the tunnel ends: %v", err)
	}
}

// TestTunnel_EndsWithRun checks that the server closes its tunnels when it stops, with a close frame.
func TestTunnel_EndsWithRun(t *testing.T) {
	url := echoTunnel(t, "")
	w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = Upstreams{url} })
	conn := w.raw(handshake)
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
	if string(last) != string(goingAwayFrame) {
		t.Errorf("the last bytes are %x", last)
	}
	w.eventually("nothing is live", func() bool { return w.number("sallyport_live_requests") == 0 })
}

// TestFrameTracker checks that frames are tracked however they are split, and that the close frame is only sent between
// two of them.
func TestFrameTracker(t *testing.T) {
	for name, c := range map[string]struct {
		written  string
		complete bool
	}{
		"nothing":                    {"", true},
		"an empty frame":             {"\x81\x00", true},
		"a short one":                {"\x81\x02ok", true},
		"two":                        {"\x81\x02ok\x82\x01x", true},
		"one of 16 bits":             {"\x82\x7e\x01\x00" + strings.Repeat("x", 256), true},
		"one of 64 bits":             {"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + strings.Repeat("x", 1<<16), true},
		"one that is masked":         {"\x81\x82mask\x00\x00", true},
		"half a head":                {"\x81", false},
		"half a length":              {"\x82\x7f\x00\x00", false},
		"a payload that lacks a bit": {"\x81\x03ok", false},
		"and one after a whole one":  {"\x81\x00\x81\x01", false},
	} {
		for _, piece := range []int{1, 2, 3, 1 << 20} {
			here, there := net.Pipe()
			read := make(chan string)
			go func() {
				text, _ := io.ReadAll(there)
				read <- string(text)
			}()
			f := &frameTracker{Conn: here}
			for p := range slices.Chunk([]byte(c.written), piece) {
				_, _ = f.Write(p)
			}
			f.sendGoingAway()
			_ = here.Close()
			if text := <-read; strings.HasSuffix(text, string(goingAwayFrame)) != c.complete {
				t.Errorf("%s, in pieces of %d: ends with %x", name, piece, text[max(0, len(text)-6):])
			}
		}
	}
}
