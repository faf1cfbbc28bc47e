package proxy

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sallyport/proxy/internal/upstream"
)

// TestRequestBody_NeverArrives checks that a request whose body never arrives gets its response, and that its connection
// is then closed.
func TestRequestBody_NeverArrives(t *testing.T) {
	t.Parallel() // it waits
	const form = "Content-Type: application/x-www-form-urlencoded\r\n"
	w := newWorld(t, func(s *Settings) {
		s.Limits.Stall = 2 * time.Second
		s.Routes[3].Policy, s.Routes[3].PathEncoding = []string{"all"}, ""
		s.Routes[3].Upstream = Upstreams{rawUpstream(t, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")}
	})
	w.token("alice", nil) // waits until the provider was discovered
	w.setUpstream(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	var all sync.WaitGroup
	for name, head := range map[string]string{
		"denied":                             "POST / HTTP/1.1\r\nHost: " + appHost + "\r\n",
		"to an unknown host":                 "POST / HTTP/1.1\r\nHost: nowhere.example.com\r\n",
		"to an invalid path":                 "POST /a/../b HTTP/1.1\r\nHost: " + openHost + "\r\n",
		"to an internal path, GET":           "GET /.sallyport/jwks.json HTTP/1.1\r\nHost: " + appHost + "\r\n",
		"to the logout page":                 "POST /.sallyport/logout HTTP/1.1\r\nHost: " + loginHost + "\r\n" + form,
		"to back-channel logout":             "POST /.sallyport/backchannel-logout HTTP/1.1\r\nHost: " + loginHost + "\r\n" + form,
		"to an upstream that responds":       "POST / HTTP/1.1\r\nHost: " + lenientHost + "\r\nExpect: 100-continue\r\n",
		"to an upstream that reads the body": "POST / HTTP/1.1\r\nHost: " + openHost + "\r\n",
	} {
		for framing, body := range map[string]string{"by length": "Content-Length: 100\r\n\r\n", "in chunks": "Transfer-Encoding: chunked\r\n\r\n"} {
			conn := w.sendRaw(head + body)
			all.Go(func() {
				response, err := io.ReadAll(conn)
				if upstream.IsTimeout(err) {
					t.Errorf("%s, %s: the connection stays open", name, framing)
				}
				if !strings.HasPrefix(string(response), "HTTP/1.1 ") && name != "to an upstream that reads the body" {
					t.Errorf("%s, %s: the response is %q", name, framing, response)
				}
			})
		}
	}
	all.Wait()
}

// TestRequestBody_UnreadIsNotAwaited checks that the response is sent at once if the upstream responds before it has read
// the body, or cannot be reached. Bytes that arrive later are not read as a request.
func TestRequestBody_UnreadIsNotAwaited(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		s.Routes[0].Policy, s.Routes[0].Upstream = []string{"all"}, Upstreams{"http://" + unusedAddress}
		s.Routes[1].Upstream = Upstreams{rawUpstream(t, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")}
	})
	for host, want := range map[string]int{appHost: 502, openHost: 401} {
		for name, rest := range map[string]string{
			"client waits for 100 Continue":  "Content-Length: 10\r\nExpect: 100-continue\r\n\r\n",
			"client is sending a long body":  "Content-Length: 1000000\r\n\r\n" + strings.Repeat("x", 8<<10),
			"client is sending a short body": "Content-Length: 20000\r\n\r\n" + strings.Repeat("x", 8<<10),
			"client is sending chunks":       "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		} {
			conn := w.sendRaw("")
			if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: "+host+"\r\n"+rest); err != nil {
				t.Errorf("%s, host %s: writing the request: %v", name, host, err)
			}
			br := bufio.NewReader(conn)
			res, err := http.ReadResponse(br, nil)
			if err == nil && res.StatusCode == http.StatusContinue { // to keep its connection, the transport asks for the body
				res, err = http.ReadResponse(br, nil)
			}
			if err != nil {
				t.Errorf("%s, host %s: %v", name, host, err)
				continue
			}
			if _, err := io.ReadAll(res.Body); err != nil || res.StatusCode != want || !res.Close {
				t.Errorf("%s, host %s: %d, %v; Connection: close is %v", name, host, res.StatusCode, err, res.Close)
			}
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
			_ = conn.CloseWrite()
			if second, err := http.ReadResponse(br, nil); err == nil {
				t.Errorf("%s, host %s: a second response %d", name, host, second.StatusCode)
			}
		}
	}
}

// TestRequestBody_MayBeSlow checks that a body may take longer than limits.stall in all if its pauses are shorter, and
// that a gRPC stream may also pause for longer.
func TestRequestBody_MayBeSlow(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, func(s *Settings) { s.Limits.Stall = 2 * time.Second })
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) { _, _ = io.Copy(rw, r.Body) })
	for _, kind := range []string{"text/plain", "application/grpc"} {
		body, feed := io.Pipe()
		go func() {
			pieces, pause := 8, 300*time.Millisecond // far from the limit, also on a busy machine
			if kind == "application/grpc" {
				pieces, pause = 1, 3*time.Second
			}
			for range pieces {
				time.Sleep(pause)
				_, _ = io.WriteString(feed, "x")
			}
			_ = feed.Close()
		}()
		res, text := w.send(w.client(true), "POST", "https://"+openHost+"/", body, "Content-Type", kind)
		if res.StatusCode != 200 || strings.Trim(text, "x") != "" || text == "" {
			t.Errorf("%s: %d %q", kind, res.StatusCode, text)
		}
	}
}

// trickle is a body of which a byte arrives every 50 ms, up to a size.
type trickle struct{ left int }

func (b *trickle) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(50 * time.Millisecond)
	b.left--
	return copy(p[:1], "x"), nil
}

// TestRequestBody_TooSlow checks that a body that arrives too slowly gets 408 and the end of its connection or stream, if
// the caller is not signed in; that of a caller who is signed in may be as slow, as long as it does not pause for
// limits.stall.
func TestRequestBody_TooSlow(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, func(s *Settings) { s.Limits.Stall = time.Second })
	w.proxy.routing.Load().pace.Tolerance = 2 * time.Second // instead of slowTimeout
	_, cookie := w.signIn("alice", openHost)
	token := w.token("alice", nil)
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) { _, _ = io.Copy(rw, r.Body) })
	var all sync.WaitGroup
	for _, h2 := range []bool{false, true} {
		for name, c := range map[string]struct {
			headers []string
			want    int
		}{"anonymous": {nil, 408}, "session": {[]string{"Cookie", cookie}, 200}, "bearer": {[]string{"Authorization", "Bearer " + token}, 200},
			"made-up token":    {[]string{"Authorization", "Bearer x"}, 408},
			"anonymous stream": {[]string{"Content-Type", "application/grpc"}, map[bool]int{true: 200, false: 408}[h2]}} {
			client := w.client(h2)
			all.Go(func() {
				res, body := w.send(client, "POST", "https://"+openHost+"/", &trickle{60}, c.headers...)
				if res.StatusCode != c.want {
					t.Errorf("%s, HTTP/2 %v: %d %s", name, h2, res.StatusCode, body)
				}
				if c.want == 408 && !h2 && !res.Close {
					t.Errorf("%s: the connection stays open", name)
				}
			})
		}
	}
	for _, name := range []string{"anonymous", "session"} {
		conn := w.sendRaw("POST / HTTP/1.1\r\nHost: " + openHost + "\r\n" + map[string]string{"session": "Cookie: " + cookie + "\r\n"}[name] + "Content-Length: 2\r\n\r\nx")
		all.Go(func() {
			if response, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(response), "HTTP/1.1 408 ") {
				t.Errorf("%s, paused: %q, %v", name, response, err)
			}
		})
	}
	all.Wait()
	if n := w.metric("sallyport_live_ended_total", "route", "open", "by", "slow"); n != 5 {
		t.Errorf("%v slow bodies are counted", n)
	}
	if n := w.metric("sallyport_http_requests_total", "route", "open", "code", "408"); n != 7 {
		t.Errorf("%v requests with 408 are counted", n)
	}
}

// TestResponse_Stalls checks that a response is ended if its client reads nothing over HTTP/1.1, or opens no
// flow-control window over HTTP/2 (CVE-2019-9511, CVE-2019-9517).
func TestResponse_Stalls(t *testing.T) {
	w := newWorld(t, func(s *Settings) { s.Limits.Stall = time.Second })
	gone := make(chan struct{}, 1)
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/small" {
			for err := error(nil); err == nil; {
				_, err = rw.Write(make([]byte, 64<<10))
			}
			gone <- struct{}{}
		}
		_, _ = io.WriteString(rw, "small")
	})
	_ = w.sendRaw("GET /large HTTP/1.1\r\nHost: " + openHost + "\r\n\r\n")
	await(t, "the response over HTTP/1.1 ends", gone)
	f := w.dialWithClosedWindow()
	for id, target := range []string{openHost + "/large", openHost + "/small", loginHost + "/.sallyport/jwks.json", "nowhere.example.com/"} {
		host, path, _ := strings.Cut(target, "/")
		f.ask(t, uint32(2*id+1), host, "/"+path)
	}
	for reset := 0; reset < 4; {
		frame, err := f.ReadFrame()
		w.must(err)
		if _, ok := frame.(*http2.RSTStreamFrame); ok {
			reset++
		}
	}
	await(t, "the response over HTTP/2 ends", gone)
}

// TestResponse_InformationalStalls checks that a request is ended if its client does not read the informational
// responses.
func TestResponse_InformationalStalls(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		s.Limits.Stall = time.Second
		s.Routes[1].Upstream = Upstreams{rawUpstream(t, strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: "+strings.Repeat("x", 100<<10)+"\r\n\r\n", 200))}
	})
	_ = w.sendRaw("POST / HTTP/1.1\r\nHost: " + openHost + "\r\nContent-Length: 0\r\n\r\n")
	w.eventually("it is counted", func() bool { return w.metric("sallyport_http_requests_total", "route", "open") == 1 })
}

// TestResponse_ResetsDeadlines checks that the deadlines of one response do not apply to the next on the connection.
func TestResponse_ResetsDeadlines(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, func(s *Settings) { s.Limits.Stall = time.Second })
	conn := w.sendRaw("")
	br := bufio.NewReader(conn)
	for range 3 {
		_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+openHost+"\r\n\r\n")
		w.must(err)
		res, err := http.ReadResponse(br, nil)
		w.must(err)
		_, err = io.Copy(io.Discard, res.Body)
		w.must(err)
		time.Sleep(1100 * time.Millisecond) // longer than one response may take
	}
}

// closedWindowClient is an HTTP/2 client whose flow-control window is 0: the server may send headers, but no byte of a
// body.
type closedWindowClient struct{ *http2.Framer }

func (w *world) dialWithClosedWindow() closedWindowClient {
	w.t.Helper()
	conn, err := tls.Dial("tcp", w.server.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	w.must(err)
	w.t.Cleanup(func() { conn.Close() })
	w.must(conn.SetDeadline(time.Now().Add(waitLimit)))
	_, err = io.WriteString(conn, http2.ClientPreface)
	w.must(err)
	f := http2.NewFramer(conn, conn)
	w.must(f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
	return closedWindowClient{f}
}

// ask sends a GET on a stream.
func (c closedWindowClient) ask(t *testing.T, id uint32, host, path string) {
	t.Helper()
	var block strings.Builder
	e := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", host}, {":path", path}} {
		if err := e.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte(block.String()), EndStream: true, EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
}
