package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/proxy/internal/response"
)

// piece is the text of one write.
const piece = "0123456789"

// logBuffer is a log that is safe for concurrent use.
type logBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// text returns what was logged.
func (l *logBuffer) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// ends returns the lines about live connections that ended.
func (l *logBuffer) ends(t *testing.T) (list []map[string]any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		if entry["msg"] == "live connection ended" {
			list = append(list, entry)
		}
	}
	return list
}

// logDebug makes the proxy log at level debug into the buffer that it returns.
func (w *world) logDebug() *logBuffer {
	l := new(logBuffer)
	w.proxy.log = slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return l
}

// lived is a duration after which the end of an exchange is reported.
const lived = longLived + 200*time.Millisecond

// openTunnel opens a WebSocket whose upstream repeats what it receives, and returns the client's side.
func (w *world) openTunnel(headers string) (conn *tls.Conn, in *bufio.Reader) {
	w.t.Helper()
	c := w.sendRaw(strings.Replace(handshake, "Upgrade: websocket", headers+"Upgrade: websocket", 1))
	in = bufio.NewReader(c)
	res, err := http.ReadResponse(in, nil)
	w.must(err)
	if res.StatusCode != http.StatusSwitchingProtocols {
		w.t.Fatal(res.Status)
	}
	return c, in
}

// stream sends a request, waits for lived and returns the response, whose body may go on.
func (w *world) stream(c *http.Client) *http.Response {
	w.t.Helper()
	res := w.open(c, "GET", "/", nil)
	time.Sleep(lived)
	return res
}

// endlessStream sends one piece, and then nothing until the request ends.
func endlessStream(rw http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(rw, piece)
	_ = http.NewResponseController(rw).Flush()
	<-r.Context().Done()
}

// TestLiveEnd_Causes ends a live connection in each way, and checks that its end is counted and logged once, with the
// right cause and byte counts.
func TestLiveEnd_Causes(t *testing.T) {
	for name, c := range map[string]struct {
		by       response.Cause
		settings func(t *testing.T, s *Settings)
		run      func(w *world)
		received float64 // bytes, as logged
		sent     float64 // -1: any
	}{
		"tunnel/client": {by: response.ByClient, received: 5, sent: 5, settings: echoUpstream, run: func(w *world) {
			conn, in := w.openTunnel("")
			_, err := io.WriteString(conn, "hello")
			w.must(err)
			_, err = io.ReadFull(in, make([]byte, 5))
			w.must(err)
			time.Sleep(lived)
			w.must(conn.CloseWrite())
		}},
		"tunnel/upstream": {by: response.ByUpstream, sent: 3, settings: func(t *testing.T, s *Settings) {
			s.Routes[1].Upstream = Upstreams{closingWebSocketUpstream(t, "bye", lived)}
		}, run: func(w *world) {
			conn, in := w.openTunnel("")
			_, _ = io.Copy(io.Discard, in)
			w.must(conn.Close())
		}},
		"tunnel/cut": {by: response.ByCut, settings: echoUpstream, run: func(w *world) {
			w.openTunnel("")
			time.Sleep(lived)
			s := w.settings
			s.Routes = s.Routes[:1]
			w.must(w.proxy.Load(s))
		}},
		"tunnel/shutdown": {by: response.ByShutdown, sent: 0, settings: echoUpstream, run: func(w *world) {
			w.openTunnel("")
			time.Sleep(lived)
			ctx, stop := context.WithCancel(w.ctx)
			stop()
			_ = w.proxy.Run(ctx)
		}},
		"stream/client": {by: response.ByClient, sent: 10, run: func(w *world) {
			w.setUpstream(endlessStream)
			w.must(w.stream(w.client(true)).Body.Close())
		}},
		"stream/upstream": {by: response.ByUpstream, sent: 10, run: func(w *world) {
			w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(rw).Flush()
				time.Sleep(lived)
				_, _ = io.WriteString(rw, piece)
			})
			_, _ = io.Copy(io.Discard, w.stream(w.client(true)).Body)
		}},
		"stream/upstream_aborts": {by: response.ByUpstream, sent: 10, run: func(w *world) {
			w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(rw, piece)
				_ = http.NewResponseController(rw).Flush()
				time.Sleep(lived)
				panic(http.ErrAbortHandler)
			})
			_, _ = io.Copy(io.Discard, w.stream(w.client(true)).Body)
		}},
		"stream/cut": {by: response.ByCut, sent: 10, run: func(w *world) {
			w.setUpstream(endlessStream)
			w.stream(w.client(true))
			s := w.settings
			s.Routes = s.Routes[:1]
			w.must(w.proxy.Load(s))
		}},
		"stream/shutdown": {by: response.ByShutdown, sent: 10, run: func(w *world) {
			w.setUpstream(endlessStream)
			w.stream(w.client(true))
			ctx, stop := context.WithCancel(w.ctx)
			stop()
			_ = w.proxy.Run(ctx)
			w.server.CloseClientConnections()
		}},
		"stream/stall": {by: response.ByStall, sent: -1, settings: func(_ *testing.T, s *Settings) { s.Limits.Stall = lived }, run: func(w *world) {
			w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
				for err := error(nil); err == nil; {
					_, err = rw.Write(make([]byte, 64<<10))
				}
			})
			w.open(w.client(true), "GET", "/", nil)
		}},
		"upload/stall": {by: response.ByStall, received: 10, settings: func(_ *testing.T, s *Settings) { s.Limits.Stall = lived }, run: func(w *world) {
			w.setUpstream(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
			w.sendRaw("POST / HTTP/1.1\r\nHost: " + openHost + "\r\nContent-Length: 100\r\n\r\n" + piece)
		}},
		"upload/client": {by: response.ByClient, received: 10, run: func(w *world) {
			w.setUpstream(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
			conn := w.sendRaw("POST / HTTP/1.1\r\nHost: " + openHost + "\r\nContent-Length: 100\r\n\r\n" + piece)
			time.Sleep(lived)
			w.must(conn.Close())
		}},
		"request/error": {by: response.ByError, settings: func(_ *testing.T, s *Settings) { s.Routes[1].Timeout = lived }, run: func(w *world) {
			w.setUpstream(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			if res := w.open(w.client(true), "GET", "/", nil); res.StatusCode != http.StatusGatewayTimeout {
				w.t.Error(res.Status)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(s *Settings) {
				if c.settings != nil {
					c.settings(t, s)
				}
			})
			log := w.logDebug()
			c.run(w)
			w.eventually("it is counted and logged", func() bool {
				return w.metric("sallyport_live_ended_total") == 1 && len(log.ends(t)) == 1
			})
			if w.metric("sallyport_live_ended_total", "route", "open", "by", string(c.by)) != 1 {
				t.Error("counted with another cause")
			}
			got := log.ends(t)[0]
			if got["by"] != string(c.by) || got["route"] != "open" || got["host"] != openHost || got["level"] != "DEBUG" || got["request"] == "" {
				t.Errorf("logged %v", got)
			}
			if got["received"] != c.received || c.sent >= 0 && got["sent"] != c.sent {
				t.Errorf("bytes are logged as %v and %v, want %v and %v", got["received"], got["sent"], c.received, c.sent)
			}
			if took := time.Duration(got["took"].(float64)); took < longLived || took > waitLimit {
				t.Errorf("took is %s", took)
			}
		})
	}
}

// TestLiveEnd_UpstreamComesFirst checks that a tunnel counts as ended by the upstream if the client ends it as soon as it sees
// the upstream's end.
func TestLiveEnd_UpstreamComesFirst(t *testing.T) {
	t.Parallel() // it waits
	const tunnels = 200
	w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = Upstreams{closingWebSocketUpstream(t, "bye", lived)} })
	for range tunnels {
		conn, in := w.openTunnel("")
		go func() {
			_, _ = io.Copy(io.Discard, in)
			_ = conn.Close()
		}()
	}
	w.eventually("the tunnels end", func() bool { return w.metric("sallyport_live_ended_total") == tunnels })
	if n := w.metric("sallyport_live_ended_total", "by", string(response.ByUpstream)); n != tunnels {
		t.Errorf("%v of %d tunnels count as ended by the upstream", n, tunnels)
	}
}

// TestLiveEnd_LogsUser checks that the line has the user of the connection.
func TestLiveEnd_LogsUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	log := w.logDebug()
	w.setUpstream(endlessStream)
	_, cookie := w.signIn("alice", appHost)
	r, err := http.NewRequestWithContext(w.ctx, "GET", "https://"+appHost+"/", nil)
	w.must(err)
	r.Header.Set("Cookie", cookie)
	res, err := w.client(true).Do(r)
	w.must(err)
	time.Sleep(lived)
	w.must(res.Body.Close())
	w.eventually("it is logged", func() bool { return len(log.ends(t)) == 1 })
	if got := log.ends(t)[0]; got["user"] != w.user("alice").ID {
		t.Errorf("%v", got)
	}
}

// TestLiveEnd_IgnoresShort checks that a request of less than a second is neither counted nor logged.
func TestLiveEnd_IgnoresShort(t *testing.T) {
	w := newWorld(t, nil)
	log := w.logDebug()
	w.get(w.client(true), "https://"+openHost+"/")
	if n := w.metric("sallyport_live_ended_total"); n != 0 || len(log.ends(t)) != 0 {
		t.Errorf("%v counted, %v logged", n, log.ends(t))
	}
}

func echoUpstream(t *testing.T, s *Settings) {
	s.Routes[1].Upstream = Upstreams{echoWebSocketUpstream(t, "")}
}

// closingWebSocketUpstream returns the URL of an upstream that accepts a WebSocket, sends some bytes and closes it after
// a while.
func closingWebSocketUpstream(t *testing.T, text string, after time.Duration) string {
	t.Helper()
	return webSocketUpstream(t, func(conn io.ReadWriteCloser, _ io.Reader) {
		_, _ = io.WriteString(conn, switching+text)
		time.Sleep(after)
	})
}
