package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawServer serves each connection of an upstream with a function, over TCP or TLS.
type rawServer struct {
	url, ca string // ca is the path of its certificate; "" without TLS
}

// serveRaw starts an upstream that hands the header of the first request on each connection to serve, and closes the
// connection afterwards. raw is the connection under TLS.
func serveRaw(t *testing.T, secure bool, serve func(conn net.Conn, raw *net.TCPConn, r *http.Request)) rawServer {
	t.Helper()
	return listenRaw(t, secure, "http/1.1", func(conn net.Conn, raw *net.TCPConn) {
		if r, err := http.ReadRequest(bufio.NewReaderSize(conn, 16)); err == nil {
			serve(conn, raw, r)
		}
	})
}

// listenRaw starts an upstream that hands each connection to serve, and closes it afterwards.
func listenRaw(t *testing.T, secure bool, protocol string, serve func(conn net.Conn, raw *net.TCPConn)) rawServer {
	t.Helper()
	l := listenTCP(t)
	s, config := rawServer{url: "http://" + l.Addr().String()}, &tls.Config{NextProtos: []string{protocol}}
	if secure {
		s.url, s.ca = "https://"+l.Addr().String(), filepath.Join(t.TempDir(), "raw.crt")
		config.Certificates = []tls.Certificate{certificate(t, strings.TrimSuffix(s.ca, ".crt"), "raw.internal")}
	}
	go acceptEach(l, func(conn net.Conn) {
		raw, _ := conn.(*net.TCPConn)
		if secure {
			conn = tls.Server(conn, config)
		}
		serve(conn, raw)
	})
	return s
}

// listenTCP returns a listener on loopback, which is closed with the test.
func listenTCP(tb testing.TB) net.Listener {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	return l
}

// acceptEach hands each connection of l to serve, and closes it afterwards. It returns once l is closed.
func acceptEach(l net.Listener, serve func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			serve(conn)
		}()
	}
}

// use makes the server the only upstream of a route.
func (s rawServer) use(r *Route) {
	r.Upstream, r.UpstreamTLS = Upstreams{s.url}, UpstreamTLS{}
	if s.ca != "" {
		r.UpstreamTLS = UpstreamTLS{CAFile: s.ca, ServerName: "raw.internal"}
	}
}

// bothSchemes runs a test with an upstream over TCP and over TLS.
func bothSchemes(t *testing.T, test func(t *testing.T, secure bool)) {
	t.Helper()
	SkipWithTLSUpstreams(t)
	t.Run("http", func(t *testing.T) { test(t, false) })
	t.Run("https", func(t *testing.T) { test(t, true) })
}

// TestForward_ResponseDuringUpload checks that a client receives the response of an upstream that responds before it has read
// the body, and closes or resets its connection: every time, whatever the client speaks and however it frames the body.
func TestForward_ResponseDuringUpload(t *testing.T) {
	const runs, size = 15, 1 << 20
	bothSchemes(t, func(t *testing.T, secure bool) {
		for _, end := range []string{"close", "reset"} {
			s := serveRaw(t, secure, func(conn net.Conn, raw *net.TCPConn, r *http.Request) {
				body := r.URL.Path
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 %s Early\r\nContent-Length: %d\r\n\r\n%s", r.Header.Get("X-Want"), len(body), body)
				if end == "reset" {
					_ = raw.SetLinger(0)
					_ = raw.Close()
				}
			})
			w := newWorld(t, func(settings *Settings) { s.use(&settings.Routes[1]) })
			bothProtocols(t, w, func(t *testing.T, c *http.Client) {
				for i := range runs {
					for _, want := range []string{"413", "401", "403", "200"} {
						var body io.Reader = strings.NewReader(strings.Repeat("x", size))
						if i%2 == 1 {
							body = struct{ io.Reader }{body} // in chunks
						}
						path := fmt.Sprintf("/%s/%d/%s", end, i, want)
						res, text := w.send(c, "POST", "https://"+openHost+path, body, "X-Want", want)
						if fmt.Sprint(res.StatusCode) != want || text != path {
							t.Fatalf("%s: %d %q", path, res.StatusCode, text)
						}
					}
				}
			})
		}
	})
}

// TestForward_ResponseDuringHTTP2Upload checks the same of an upstream that speaks HTTP/2.
func TestForward_ResponseDuringHTTP2Upload(t *testing.T) {
	upstream := http2Upstream(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Connection", "close") // GOAWAY
		rw.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(rw, "no")
	})
	w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream, s.Routes[1].UpstreamTLS = Upstreams{upstream}, UpstreamTLS{} })
	bothProtocols(t, w, func(t *testing.T, c *http.Client) {
		for i := range 20 {
			res, text := w.send(c, "POST", "https://"+openHost+"/", strings.NewReader(strings.Repeat("x", 1<<20)))
			if res.StatusCode != 413 || text != "no" {
				t.Fatalf("run %d: %d %q", i, res.StatusCode, text)
			}
		}
	})
}

// TestForward_ResponseToSilentReader checks that a client that sends all of its body before it reads anything
// receives the response, and so does one that sends slowly.
func TestForward_ResponseToSilentReader(t *testing.T) {
	bothSchemes(t, func(t *testing.T, secure bool) {
		s := serveRaw(t, secure, func(conn net.Conn, _ *net.TCPConn, r *http.Request) {
			_, _ = io.WriteString(conn, map[string]string{
				"/":       "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno",
				"/chunks": "HTTP/1.1 413 Too Large\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
				"/close":  "HTTP/1.0 413 Too Large\r\n\r\nno",
			}[r.URL.Path])
		})
		w := newWorld(t, func(settings *Settings) { s.use(&settings.Routes[1]); settings.Routes[1].MaxBody = 64 << 20 })
		for name, c := range map[string]struct {
			length, pieces int
			host, path     string
			want           int
		}{
			"large":           {32 << 20, 32, openHost, "/", 413},
			"small_pieces":    {600, 600, openHost, "/", 413},
			"chunks":          {32 << 20, 32, openHost, "/chunks", 413},
			"until_close":     {32 << 20, 32, openHost, "/close", 413},
			"denied":          {32 << 20, 32, appHost, "/", 401},
			"over_max_body":   {65 << 20, 65, openHost, "/", 413},
			"longer_than_rcv": {8 << 20, 1, openHost, "/", 413},
		} {
			conn := w.sendRaw(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", c.path, c.host, c.length))
			for range c.pieces {
				if _, err := conn.Write(make([]byte, c.length/c.pieces)); err != nil {
					t.Fatalf("%s: writing the body: %v", name, err)
				}
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || res.StatusCode != c.want || !res.Close && c.length > 1<<20 {
				t.Fatalf("%s: %v, %v", name, res, err)
			}
		}
	})
}

// TestForward_NoResponseDuringUpload checks that an upstream that closes its connection during an upload without a response is
// an error, that the request is sent once, and that the error comes soon.
func TestForward_NoResponseDuringUpload(t *testing.T) {
	bothSchemes(t, func(t *testing.T, secure bool) {
		requests := make(chan struct{}, 100)
		s := serveRaw(t, secure, func(conn net.Conn, raw *net.TCPConn, r *http.Request) {
			requests <- struct{}{}
			if r.URL.Path == "/partial" {
				_, _ = io.WriteString(conn, "HTTP/1.1 413 Too")
			}
			if r.URL.Path == "/reset" {
				_ = raw.SetLinger(0)
				_ = raw.Close()
			}
		})
		w := newWorld(t, func(settings *Settings) { s.use(&settings.Routes[1]); settings.Routes[1].Timeout = time.Minute })
		for i, path := range []string{"/close", "/reset", "/partial"} {
			res, _ := w.send(w.client(true), "POST", "https://"+openHost+path, strings.NewReader(strings.Repeat("x", 4<<20)))
			if res.StatusCode != 502 || len(requests) != i+1 {
				t.Errorf("%s: %d after %d requests", path, res.StatusCode, len(requests))
			}
		}
	})
}

// TestForward_ConnectionAfterUnreadUpload checks that a connection is not used again after a response that came before
// all of the body was sent.
func TestForward_ConnectionAfterUnreadUpload(t *testing.T) {
	bothSchemes(t, func(t *testing.T, secure bool) {
		s := serveRaw(t, secure, func(conn net.Conn, raw *net.TCPConn, r *http.Request) {
			_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
			_, _ = io.Copy(io.Discard, conn)
		})
		w := newWorld(t, func(settings *Settings) { s.use(&settings.Routes[1]) })
		for i := range 3 { // a second request on a connection would get no response
			body, _ := io.Pipe() // never ends
			r, err := http.NewRequestWithContext(w.ctx, "POST", "https://"+openHost+"/", body)
			w.must(err)
			res, err := w.client(true).Do(r)
			w.must(err)
			text, err := io.ReadAll(res.Body)
			if res.StatusCode != 413 || string(text) != "no" || err != nil {
				t.Errorf("%d: %d %q %v", i, res.StatusCode, text, err)
			}
			_ = res.Body.Close()
			_ = body.Close()
		}
	})
}

// TestForward_ResponseOfHTTP2ThenReset checks that the response of an upstream that speaks HTTP/2 counts if the upstream
// resets the connection during the upload.
func TestForward_ResponseOfHTTP2ThenReset(t *testing.T) {
	bothSchemes(t, func(t *testing.T, secure bool) {
		s := listenRaw(t, secure, "h2", func(conn net.Conn, raw *net.TCPConn) {
			if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
				return
			}
			f := http2.NewFramer(conn, conn)
			_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
			_ = f.WriteSettingsAck()
			_ = f.WriteWindowUpdate(0, 1<<20)
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				if head, ok := frame.(*http2.HeadersFrame); ok {
					var block bytes.Buffer
					_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "413"})
					_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: head.StreamID, BlockFragment: block.Bytes(), EndHeaders: true})
					_ = f.WriteData(head.StreamID, true, []byte("no"))
					_ = raw.SetLinger(0)
					_ = raw.Close()
					return
				}
			}
		})
		if !secure {
			s.url = strings.Replace(s.url, "http", "h2c", 1)
		}
		w := newWorld(t, func(settings *Settings) { s.use(&settings.Routes[1]); settings.Routes[1].Timeout = time.Minute })
		bothProtocols(t, w, func(t *testing.T, c *http.Client) {
			for i := range 40 {
				w.settings.Routes[1].Timeout += time.Second // a new upstream, and so a new connection
				w.must(w.proxy.Load(w.settings))
				res, text := w.send(c, "POST", "https://"+openHost+"/", strings.NewReader(strings.Repeat("x", 1<<20)))
				if res.StatusCode != 413 || text != "no" {
					t.Fatalf("run %d: %d %q", i, res.StatusCode, text)
				}
			}
		})
	})
}

// TestForward_ResponseUntilReset checks that a response without a length, during an upload, ends where the upstream resets
// its connection: so do the responses of upstreams that speak HTTP/1.0 and do not read the body.
func TestForward_ResponseUntilReset(t *testing.T) {
	s := serveRaw(t, false, func(conn net.Conn, raw *net.TCPConn, _ *http.Request) {
		_, _ = io.WriteString(conn, "HTTP/1.0 413 Too Large\r\nConnection: close\r\n\r\nno")
		_ = raw.SetLinger(0)
		_ = raw.Close()
	})
	w := newWorld(t, func(settings *Settings) { s.use(&settings.Routes[1]) })
	bothProtocols(t, w, func(t *testing.T, c *http.Client) {
		for i := range 40 {
			body, feed := io.Pipe()
			go func() {
				for err := error(nil); err == nil; {
					_, err = feed.Write(make([]byte, 64<<10))
				}
			}()
			r, err := http.NewRequestWithContext(w.ctx, "POST", "https://"+openHost+"/", body)
			w.must(err)
			res, err := c.Do(r)
			if err != nil {
				t.Fatalf("run %d: %v", i, err)
			}
			text, err := io.ReadAll(res.Body)
			if res.StatusCode != 413 || string(text) != "no" || err != nil {
				t.Fatalf("run %d: %d %q %v", i, res.StatusCode, text, err)
			}
			_, _ = res.Body.Close(), body.Close()
		}
	})
}
