package proxy

import (
	"bufio"
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sallyport/proxy/internal/upstream"
)

// open sends a request to the open route and returns the response unread.
func (w *world) open(c *http.Client, method, path string, body io.Reader) *http.Response {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.ctx, method, "https://"+openHost+path, body)
	w.must(err)
	res, err := c.Do(r)
	w.must(err)
	w.t.Cleanup(func() { res.Body.Close() })
	return res
}

func TestForward_Streams(t *testing.T) {
	w := newWorld(t, nil)
	bothProtocols(t, w, func(t *testing.T, c *http.Client) {
		t.Run("an event arrives at once", func(t *testing.T) {
			more := make(chan struct{})
			w.behindIs(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Content-Type", "text/event-stream")
				for range 3 {
					io.WriteString(rw, "data: tick\n\n")
					http.NewResponseController(rw).Flush()
					<-more
				}
			})
			res := w.open(c, "GET", "/", nil)
			for range 3 {
				_, err := io.ReadFull(res.Body, make([]byte, len("data: tick\n\n")))
				w.must(err)
				more <- struct{}{}
			}
		})
		t.Run("a part of a response with a length arrives at once", func(t *testing.T) {
			more := make(chan struct{})
			w.behindIs(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Content-Length", "20")
				for range 2 {
					io.WriteString(rw, "0123456789")
					http.NewResponseController(rw).Flush()
					<-more
				}
			})
			res := w.open(c, "GET", "/", nil)
			for range 2 {
				_, err := io.ReadFull(res.Body, make([]byte, 10))
				w.must(err)
				more <- struct{}{}
			}
		})
		t.Run("an upload gets its response while it goes on", func(t *testing.T) {
			w.behindIs(func(rw http.ResponseWriter, r *http.Request) {
				http.NewResponseController(rw).EnableFullDuplex()
				http.NewResponseController(rw).Flush()
				for lines := bufio.NewScanner(r.Body); lines.Scan(); {
					fmt.Fprintln(rw, strings.ToUpper(lines.Text()))
					http.NewResponseController(rw).Flush()
				}
			})
			body, pen := io.Pipe()
			res := w.open(c, "POST", "/", body)
			lines := bufio.NewReader(res.Body)
			for _, word := range []string{"one", "two"} {
				fmt.Fprintln(pen, word)
				if line, err := lines.ReadString('\n'); err != nil || line != strings.ToUpper(word)+"\n" {
					t.Fatalf("%q, %v", line, err)
				}
			}
			pen.Close()
		})
		t.Run("trailers and early hints are forwarded", func(t *testing.T) {
			w.behindIs(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Link", "</a.css>; rel=preload")
				rw.WriteHeader(http.StatusEarlyHints)
				rw.Header().Set("Trailer", "Grpc-Status")
				io.WriteString(rw, "body")
				rw.Header().Set("Grpc-Status", "0")
			})
			hints := 0
			r, _ := http.NewRequestWithContext(httptrace.WithClientTrace(w.ctx, &httptrace.ClientTrace{
				Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
					if code == http.StatusEarlyHints && h.Get("Link") != "" {
						hints++
					}
					return nil
				}}), "GET", "https://"+openHost+"/", nil)
			res, err := c.Do(r)
			w.must(err)
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			w.must(err)
			if string(body) != "body" || res.Trailer.Get("Grpc-Status") != "0" || hints != 1 {
				t.Errorf("%q, trailers %v, %d hints", body, res.Trailer, hints)
			}
		})
		t.Run("trailers cannot carry framing or cookies", func(t *testing.T) {
			w.behindIs(func(rw http.ResponseWriter, r *http.Request) {
				conn, _, err := rw.(http.Hijacker).Hijack()
				w.must(err)
				defer conn.Close()
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n"+
					"X-Sum: 1\r\nConnection: X-Sum\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\nSet-Cookie: __Host-sallyport=1\r\n\r\n")
			})
			res := w.open(c, "GET", "/", nil)
			body, err := io.ReadAll(res.Body)
			w.must(err)
			if len(res.Trailer) != 1 || res.Trailer.Get("X-Sum") != "1" || string(body) != "body" {
				t.Errorf("%q, trailers %v", body, res.Trailer)
			}
		})
		t.Run("trailers of a request are not forwarded", func(t *testing.T) {
			var seen http.Header
			w.behindIs(func(rw http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); seen = r.Trailer.Clone() })
			r, _ := http.NewRequestWithContext(w.ctx, "POST", "https://"+openHost+"/", struct{ io.Reader }{strings.NewReader("x")})
			r.Trailer = http.Header{"X-Forwarded-User": {forged}, "X-Other": {forged}}
			res, err := c.Do(r)
			w.must(err)
			res.Body.Close()
			if len(seen) != 0 {
				t.Errorf("upstream saw %v", seen)
			}
		})
		t.Run("methods, bodies, codes and encodings are forwarded unchanged", func(t *testing.T) {
			w.behindIs(func(rw http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				rw.Header().Set("Content-Encoding", "br")
				rw.Header().Set("X-Accepts", r.Header.Get("Accept-Encoding"))
				rw.WriteHeader(http.StatusTeapot)
				rw.Write(append([]byte(r.Method+" "), body...))
			})
			for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
				res, body := w.send(c, method, "https://"+openHost+"/x", strings.NewReader("body"), "Accept-Encoding", "br")
				if res.StatusCode != http.StatusTeapot || body != method+" body" || res.Header.Get("Content-Encoding") != "br" || res.Header.Get("X-Accepts") != "br" {
					t.Errorf("%s: %d %q %v", method, res.StatusCode, body, res.Header)
				}
			}
		})
		t.Run("a client may wait for 100 Continue", func(t *testing.T) {
			w.behindIs(func(rw http.ResponseWriter, r *http.Request) { io.Copy(rw, r.Body) })
			if _, body := w.send(c, "PUT", "https://"+openHost+"/x", strings.NewReader("body"), "Expect", "100-continue"); body != "body" {
				t.Errorf("%q", body)
			}
		})
	})
}

func TestTunnel_CarriesBothWays(t *testing.T) {
	w := newWorld(t, nil)
	w.behindIs(echo)
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
	w.eventually("nothing is live", func() bool { return w.number("sallyport_live_requests") == 0 })
	w.eventually("it is counted", func() bool { return w.number("sallyport_http_requests_total", "route", "open", "code", "101") == 1 })
}

// TestUpgrade_WebSocketsAlone checks that no other upgrade than a WebSocket's is forwarded.
func TestUpgrade_WebSocketsAlone(t *testing.T) {
	w := newWorld(t, nil)
	var upgrade atomic.Pointer[string]
	w.behindIs(func(rw http.ResponseWriter, r *http.Request) {
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
		conn := w.raw(lines + "Host: " + openHost + "\r\n\r\n" + body)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		w.must(err)
		if got := upgrade.Load(); res.StatusCode != 200 || got == nil || *got != "" {
			t.Errorf("%q: %d, upstream saw %v", lines, res.StatusCode, got)
		}
		conn.Close()
	}
}

// hostile returns the URL of an upstream that sends the given bytes to every request.
func hostile(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					io.WriteString(conn, text)
					io.Copy(io.Discard, conn)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// TestUpgrade_UpstreamCannotSwitchUnasked checks that a 101 is only forwarded if it completes a handshake.
func TestUpgrade_UpstreamCannotSwitchUnasked(t *testing.T) {
	const accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" // of the key below (RFC 6455 §1.3)
	for name, c := range map[string]struct {
		response  string
		webSocket bool
		code      int
	}{
		"right":                  {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + accept + "\r\n", true, 101},
		"to a plain request":     {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + accept + "\r\n", false, 502},
		"to h2c":                 {"HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n" + accept + "\r\n", true, 502},
		"without saying to what": {"HTTP/1.1 101 x\r\nConnection: Upgrade\r\n" + accept + "\r\n", true, 502},
		"to two":                 {"HTTP/1.1 101 x\r\nUpgrade: websocket, h2c\r\nConnection: Upgrade\r\n" + accept + "\r\n", true, 502},
		"without accepting":      {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", true, 502},
		"accepting another":      {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n", true, 502},
		"nonsense":               {"SSH-2.0-OpenSSH\r\n\r\n", false, 502},
		"nothing":                {"\r\n", false, 502},
		"headers without end":    {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*upstream.MaxHeaderBytes) + "\r\n\r\n", false, 502},
		"no such status":         {"HTTP/1.1 099 x\r\nContent-Length: 0\r\n\r\n", false, 502},
		"two lengths":            {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", false, 502},
		"a denied handshake":     {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", true, 403},
	} {
		t.Run(name, func(t *testing.T) {
			url := hostile(t, c.response)
			w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = Upstreams{url} })
			lines := "GET / HTTP/1.1\r\nHost: " + openHost + "\r\nAccept: application/json\r\n"
			if c.webSocket {
				lines += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
			}
			res, err := http.ReadResponse(bufio.NewReader(w.raw(lines+"\r\n")), nil)
			w.must(err)
			if res.StatusCode != c.code {
				body, _ := io.ReadAll(res.Body)
				t.Errorf("%d %s", res.StatusCode, body)
			}
			if c.code == 502 && w.number("sallyport_upstream_errors_total", "route", "open", "reason", string(upstreamUnavailable)) != 1 {
				t.Error("not counted")
			}
		})
	}
}

// closesConnections returns the address of an upstream that reads each request and closes the connection.
func closesConnections(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// dropsPosts makes the upstream close the connection at every POST, and counts the POSTs.
func dropsPosts(w *world) *atomic.Int64 {
	posts := new(atomic.Int64)
	w.behindIs(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			posts.Add(1)
			panic(http.ErrAbortHandler)
		}
	})
	return posts
}

func TestUpstream_Failures(t *testing.T) {
	t.Run("unreachable", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = Upstreams{"http://" + l.Addr().String()} })
		res, body := w.get(w.client(true), "https://"+openHost+"/")
		if res.StatusCode != 502 || !strings.Contains(body, string(upstreamUnavailable)) || strings.Contains(body, l.Addr().String()) {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	})
	t.Run("no response in time", func(t *testing.T) {
		w := newWorld(t, func(s *Settings) { s.Routes[1].Timeout = 50 * time.Millisecond })
		w.behindIs(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		res, body := w.get(w.client(true), "https://"+openHost+"/")
		if res.StatusCode != 504 || !strings.Contains(body, string(upstreamTimeout)) || w.number("sallyport_upstream_errors_total", "reason", string(upstreamTimeout)) != 1 {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	})
	t.Run("a response that breaks off does not look complete", func(t *testing.T) {
		w := newWorld(t, func(s *Settings) {
			s.Routes[1].Upstream = Upstreams{hostile(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\nX\r\n")}
		})
		bothProtocols(t, w, func(t *testing.T, c *http.Client) {
			res := w.open(c, "GET", "/", nil)
			if _, err := io.ReadAll(res.Body); err == nil {
				t.Error("looks complete")
			}
		})
	})
	t.Run("a malformed body is the client's fault", func(t *testing.T) {
		w := newWorld(t, nil)
		w.behindIs(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
		conn := w.raw("POST / HTTP/1.1\r\nHost: " + openHost + "\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		w.must(err)
		if res.StatusCode != 400 || w.number("sallyport_upstream_errors_total") != 0 {
			t.Errorf("%d", res.StatusCode)
		}
	})
	t.Run("a POST is never sent twice", func(t *testing.T) {
		w := newWorld(t, nil)
		posts := dropsPosts(w)
		c := w.client(true)
		for range 5 {
			w.get(c, "https://"+openHost+"/") // leaves a connection to be used again
			if res, _ := w.send(c, "POST", "https://"+openHost+"/", strings.NewReader("x")); res.StatusCode != 502 {
				t.Errorf("%d", res.StatusCode)
			}
		}
		if posts.Load() != 5 {
			t.Errorf("%d posts for 5", posts.Load())
		}
	})
	t.Run("a POST without a body is never sent twice, whatever its Idempotency-Key", func(t *testing.T) {
		w := newWorld(t, nil)
		posts := dropsPosts(w)
		c := w.client(true)
		for range 5 {
			w.send(c, "PUT", "https://"+openHost+"/", nil) // leaves a connection of the stock transport
			if res, _ := w.send(c, "POST", "https://"+openHost+"/", nil, "Idempotency-Key", "1"); res.StatusCode != 502 {
				t.Errorf("%d", res.StatusCode)
			}
		}
		if posts.Load() != 5 {
			t.Errorf("%d posts for 5", posts.Load())
		}
	})
	t.Run("a request without a body is forwarded without one", func(t *testing.T) {
		w := newWorld(t, nil)
		w.behindIs(func(rw http.ResponseWriter, r *http.Request) {
			fmt.Fprint(rw, r.TransferEncoding, r.Header["Content-Length"], r.ContentLength, r.Header["Idempotency-Key"])
		})
		bothProtocols(t, w, func(t *testing.T, c *http.Client) {
			for method, want := range map[string]string{"POST": "[] [0] 0 [1]", "DELETE": "[] [] 0 [1]", "GET": "[] [] 0 [1]"} {
				if _, body := w.send(c, method, "https://"+openHost+"/", nil, "Idempotency-Key", "1"); body != want {
					t.Errorf("%s: %s", method, body)
				}
			}
		})
	})
	t.Run("a client that goes away ends its request", func(t *testing.T) {
		w := newWorld(t, nil)
		reached, gone := w.behindStreams()
		conn := w.raw("GET /pending HTTP/1.1\r\nHost: " + openHost + "\r\n\r\n")
		await(t, "the upstream is reached", reached)
		conn.Close()
		await(t, "the upstream lets go", gone)
		w.eventually("it is counted as gone", func() bool { return w.number("sallyport_http_requests_total", "route", "open", "code", "499") == 1 })
	})
}

// TestSmuggling_TwoLengthsEndConnection checks that a request with Content-Length and Transfer-Encoding is the last on its
// connection (RFC 9112 §6.1).
func TestSmuggling_TwoLengthsEndConnection(t *testing.T) {
	w := newWorld(t, nil)
	var bodies []string
	w.behindIs(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, r.Method+" "+r.RequestURI+" "+string(body))
	})
	conn := w.raw("POST /a HTTP/1.1\r\nHost: " + openHost + "\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" +
		"GET /smuggled HTTP/1.1\r\nHost: " + openHost + "\r\n\r\n")
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, nil)
	w.must(err)
	io.Copy(io.Discard, res.Body)
	if !res.Close {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	if rest, _ := io.ReadAll(br); len(rest) != 0 || len(bodies) != 1 || bodies[0] != "POST /a " {
		t.Errorf("after it %q; upstream saw %q", rest, bodies)
	}
}

// TestConnect_EndsConnection checks that nothing after a CONNECT is read as a request: the client may believe that it has
// a tunnel.
func TestConnect_EndsConnection(t *testing.T) {
	w := newWorld(t, nil)
	conn := w.raw("CONNECT " + openHost + ":443 HTTP/1.1\r\nHost: " + openHost + ":443\r\n\r\nGET / HTTP/1.1\r\nHost: " + openHost + "\r\n\r\n")
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, &http.Request{Method: "CONNECT"})
	w.must(err)
	if res.StatusCode != 405 || !res.Close || w.number("sallyport_decisions_total") != 0 {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}

func TestUpstream_Protocols(t *testing.T) {
	seen := make(chan string, 1)
	h := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { seen <- r.Proto + " " + r.RequestURI + " " + r.Host })
	secure := httptest.NewUnstartedServer(h)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := httptest.NewUnstartedServer(h)
	plain.Config.Protocols = new(http.Protocols)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Start()
	t.Cleanup(plain.Close)

	w := newWorld(t, func(s *Settings) {
		route := func(name string, change func(*Route)) {
			r := s.Routes[1]
			r.Name, r.Host = name, name+".example.com"
			change(&r)
			s.Routes = append(s.Routes, r)
		}
		route("https", func(r *Route) { r.Upstream, r.UpstreamTLS.CAFile = Upstreams{secure.URL}, ca })
		route("h2c", func(r *Route) { r.Upstream = Upstreams{strings.Replace(plain.URL, "http", "h2c", 1)} })
		route("untrusted", func(r *Route) { r.Upstream, r.UpstreamTLS = Upstreams{secure.URL}, UpstreamTLS{} })
	})
	for _, name := range []string{"https", "h2c"} {
		w.get(w.client(true), "https://"+name+".example.com/a%20b?c=%zz;d")
		if got := <-seen; got != "HTTP/2.0 /a%20b?c=%zz;d "+name+".example.com" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if res, _ := w.get(w.client(true), "https://untrusted.example.com/"); res.StatusCode != 502 {
		t.Errorf("an upstream with another's certificate: %d", res.StatusCode)
	}
}

func TestUpstream_RoundRobin(t *testing.T) {
	var counts [2]atomic.Int64
	var urls Upstreams
	for i := range counts {
		s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { counts[i].Add(1) }))
		t.Cleanup(s.Close)
		urls = append(urls, s.URL)
	}
	w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = urls })
	c := w.client(true)
	for range 10 {
		w.get(c, "https://"+openHost+"/")
	}
	if a, b := counts[0].Load(), counts[1].Load(); a != 5 || b != 5 {
		t.Errorf("%d and %d", a, b)
	}
}

// TestUpstream_ReloadKeepsConnections checks that a reload keeps the connections to upstreams that stay the same.
func TestUpstream_ReloadKeepsConnections(t *testing.T) {
	w := newWorld(t, nil)
	peers := map[string]bool{}
	w.behindIs(func(_ http.ResponseWriter, r *http.Request) { peers[r.RemoteAddr] = true })
	c := w.client(true)
	for range 5 {
		w.get(c, "https://"+openHost+"/")
		w.must(w.proxy.Load(w.settings))
	}
	if len(peers) != 1 {
		t.Errorf("%d connections", len(peers))
	}
}

// TestForward_FollowsNoRedirect checks that a redirect of the upstream is left to the client.
func TestForward_FollowsNoRedirect(t *testing.T) {
	w := newWorld(t, nil)
	w.behindIs(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
	})
	if res, _ := w.get(w.client(true), "https://"+openHost+"/"); res.StatusCode != 302 || res.Header.Get("Location") != "http://169.254.169.254/latest/meta-data" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}

// TestPanic_EndsOneRequest checks that a panic ends its request, not the server, and does not look like a response.
func TestPanic_EndsOneRequest(t *testing.T) {
	w := newWorld(t, nil)
	w.proxy.routing.Load().routes[1].policy = nil
	c := w.client(false)
	r, _ := http.NewRequestWithContext(w.ctx, "GET", "https://"+openHost+"/", nil)
	var eof error
	if _, eof = c.Do(r); eof == nil || !errors.Is(eof, io.EOF) {
		t.Errorf("%v", eof)
	}
	if res, _ := w.get(c, "https://"+appHost+"/", "Accept", "application/json"); res.StatusCode != 401 {
		t.Errorf("%d", res.StatusCode)
	}
	if n := w.number("sallyport_live_requests"); n != 0 {
		t.Errorf("%v are live", n)
	}
}
