package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sallyport/audit"
	"sallyport/session"
)

// used returns when the only session was last used.
func (w *world) used() time.Time {
	w.t.Helper()
	list := w.sessions.List()
	if len(list) != 1 {
		w.t.Fatalf("%d sessions are live", len(list))
	}
	return list[0].Used
}

// wantUse checks that do, which may be repeated, counts as use of the only session.
func (w *world) wantUse(what string, do func()) {
	w.t.Helper()
	before := w.used()
	w.eventually(what+" counts as use", func() bool { do(); return w.used().After(before) })
}

// signInFor returns a client, and the Cookie header of the only session for the application's host.
func (w *world) signInFor(h2 bool) (*http.Client, string) {
	w.t.Helper()
	_, cookie := w.signIn("alice", appHost)
	return w.client(h2), cookie
}

// TestUse_WebSocketMessages checks that messages count in both directions, and that an upstream's pings, which a client
// answers by itself, count only if the route says so.
func TestUse_WebSocketMessages(t *testing.T) {
	for _, pings := range []bool{false, true} {
		t.Run(fmt.Sprintf("count_pings_%v", pings), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(s *Settings) { s.Routes[0].CountPings = pings })
			send, ping, pinged := make(chan string), make(chan bool), make(chan error)
			w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
				c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover, CompressionThreshold: 1})
				if err != nil {
					return
				}
				defer c.CloseNow()
				closed := c.CloseRead(context.Background())
				for {
					select {
					case <-closed.Done():
						return
					case text := <-send:
						_ = c.Write(context.Background(), websocket.MessageText, []byte(text))
					case <-ping:
						pinged <- c.Ping(context.Background())
					}
				}
			})
			c, cookie := w.signInFor(false)
			conn, _, err := websocket.Dial(w.ctx, "https://"+appHost+"/socket", &websocket.DialOptions{HTTPClient: c,
				HTTPHeader: http.Header{"Cookie": {cookie}}, CompressionMode: websocket.CompressionContextTakeover, CompressionThreshold: 1})
			w.must(err)
			t.Cleanup(func() { conn.CloseNow() })
			received := make(chan string)
			go func() {
				for {
					_, text, err := conn.Read(context.Background())
					if err != nil {
						return
					}
					received <- string(text)
				}
			}()

			before := w.used()
			for range 3 {
				ping <- true
				w.must(<-pinged)
			}
			switch {
			case pings:
				w.wantUse("a ping of the upstream", func() { ping <- true; w.must(<-pinged) })
			case !w.used().Equal(before):
				t.Error("pings of the upstream, or the pongs of the client, count as use")
			}
			w.wantUse("a message to the client", func() { send <- "news"; <-received })
			w.must(conn.Ping(w.ctx)) // its pong comes after the message, which has been counted by then
			before = w.used()
			for range 3 {
				w.must(conn.Ping(w.ctx))
			}
			switch {
			case pings:
				w.wantUse("a ping of the client", func() { w.must(conn.Ping(w.ctx)) })
			case !w.used().Equal(before):
				t.Error("pings of the client, or the pongs of the upstream, count as use")
			}
		})
	}
}

func TestUse_MessagesOfClient(t *testing.T) {
	w := newWorld(t, nil)
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(rw, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(-1)
		for err == nil {
			_, _, err = c.Read(context.Background())
		}
	})
	c, cookie := w.signInFor(false)
	conn := dial(w, c, "https://"+appHost+"/socket", []string{"Cookie", cookie})
	w.wantUse("a message of the client", func() { w.must(conn.Write(w.ctx, websocket.MessageText, []byte("a key"))) })
	w.wantUse("a large message, while it is under way", func() {
		m, err := conn.Writer(w.ctx, websocket.MessageBinary)
		w.must(err)
		_, err = m.Write(make([]byte, 64<<10))
		w.must(err)
		w.must(m.Close())
	})
}

// TestUse_Bodies checks that the bytes of uploads and downloads count while they are under way.
func TestUse_Bodies(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http2_%v", h2), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			sends := map[string]chan string{"/download": make(chan string), "/events": make(chan string)}
			w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/upload":
					_, _ = io.Copy(io.Discard, r.Body)
					return
				case "/events":
					rw.Header().Set("Content-Type", "text/event-stream")
				}
				for {
					select {
					case <-r.Context().Done():
						return
					case text := <-sends[r.URL.Path]:
						_, _ = io.WriteString(rw, text)
						_ = http.NewResponseController(rw).Flush()
					}
				}
			})
			c, cookie := w.signInFor(h2)

			body, parts := io.Pipe()
			r, err := http.NewRequestWithContext(w.ctx, "POST", "https://"+appHost+"/upload", body)
			w.must(err)
			r.Header.Set("Cookie", cookie)
			go func() {
				if res, err := c.Do(r); err == nil {
					_ = res.Body.Close()
				}
			}()
			_, err = io.WriteString(parts, "the request has begun")
			w.must(err)
			w.wantUse("an upload", func() {
				_, err := io.WriteString(parts, "more")
				w.must(err)
			})
			w.must(parts.Close())

			for path, send := range sends {
				res := w.beginStream(c, cookie, path, send)
				w.wantUse(path, func() {
					send <- "data: x\n\n"
					_, err := io.ReadFull(res.Body, make([]byte, len("data: x\n\n")))
					w.must(err)
				})
				if path == "/events" {
					var before time.Time
					for n := range 4 {
						send <- ": still here\n\n"
						_, err := io.ReadFull(res.Body, make([]byte, len(": still here\n\n")))
						w.must(err)
						if n == 0 { // what came before the comment has been counted by now
							before = w.used()
						}
					}
					if !w.used().Equal(before) {
						t.Error("comments in a stream of events count as use")
					}
				}
				_ = res.Body.Close()
			}
		})
	}
}

// beginStream requests a path whose response begins with what is sent first.
func (w *world) beginStream(c *http.Client, cookie, path string, send chan<- string) *http.Response {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.ctx, "GET", "https://"+appHost+path, nil)
	w.must(err)
	r.Header.Set("Cookie", cookie)
	go func() { send <- "data: first\n\n" }()
	res, err := c.Do(r)
	w.must(err)
	_, err = io.ReadFull(res.Body, make([]byte, len("data: first\n\n")))
	w.must(err)
	return res
}

// TestUse_BusySocketOutlivesIdleTime checks the whole of it on real sockets: a terminal that is used lives on beyond the
// idle time, one that is only kept open by pings is cut, and the record says when and why.
func TestUse_BusySocketOutlivesIdleTime(t *testing.T) {
	t.Parallel()
	const idle = time.Second
	w := newWorldOf(t, session.Settings{Lifetime: time.Hour, Idle: idle, MaxSessions: 50}, nil)
	w.setUpstream(echo)
	c, cookie := w.signInFor(false)
	conn := dial(w, c, "https://"+appHost+"/socket", []string{"Cookie", cookie})
	longest, began := time.Duration(0), time.Now()
	for last := began; time.Since(began) < 3*idle; last = time.Now() {
		err := conn.Write(w.ctx, websocket.MessageText, []byte("ls"))
		if err == nil {
			_, _, err = conn.Read(w.ctx)
		}
		if longest = max(longest, time.Since(last)); err != nil {
			if longest < idle/2 {
				t.Fatalf("cut after %s, though it was never idle for longer than %s: %v", time.Since(began), longest, err)
			}
			t.Skipf("the machine is too slow: a message took %s", longest)
		}
		time.Sleep(20 * time.Millisecond)
	}
	used, reading := w.used(), conn.CloseRead(w.ctx)
	for conn.Ping(reading) == nil {
		time.Sleep(20 * time.Millisecond)
	}
	w.eventually("the cut is recorded", func() bool { return len(w.events(audit.KindCut)) == 1 })
	var e audit.Event
	w.must(json.Unmarshal([]byte(w.events(audit.KindCut)[0]), &e))
	if e.Reason != string(sessionExpired) || e.Time.Sub(used) < idle {
		t.Errorf("cut for %s, %s after the last message", e.Reason, e.Time.Sub(used))
	}
}

// TestUse_EngineIO checks that the heartbeat of Socket.IO is no use, whose other messages are.
func TestUse_EngineIO(t *testing.T) {
	w := newWorld(t, nil)
	w.setUpstream(echo)
	c, cookie := w.signInFor(false)
	conn := dial(w, c, "https://"+appHost+"/socket.io/?EIO=4&transport=websocket", []string{"Cookie", cookie})
	say := func(text string) {
		w.must(conn.Write(w.ctx, websocket.MessageText, []byte(text)))
		_, _, err := conn.Read(w.ctx)
		w.must(err)
	}
	before := w.used()
	for range 3 {
		say("3")
		say("2")
	}
	if !w.used().Equal(before) {
		t.Error("a heartbeat counts as use")
	}
	w.wantUse("a message", func() { say(`42["news"]`) })
}

func TestUse_Check(t *testing.T) {
	w := newWorld(t, trustLoopback)
	c, cookie := w.signInFor(false)
	w.wantUse("a check of forward-auth", func() {
		if res, _ := w.get(c, checkURL, append(forwardedHeaders("GET", "https://"+appHost+"/"), "Cookie", cookie)...); res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
	})
}
