package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// rawUpstream returns the URL of an upstream that responds to every request with the bytes of text.
func rawUpstream(t *testing.T, text string) string {
	t.Helper()
	l := listenTCP(t)
	go acceptEach(l, func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			io.WriteString(conn, text)
			io.Copy(io.Discard, conn)
		}
	})
	return "http://" + l.Addr().String()
}

// closingUpstream returns the address of an upstream that reads each request and closes the connection.
func closingUpstream(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// dropsPosts makes the upstream close the connection at every POST, and counts the POSTs.
func dropsPosts(w *world) *atomic.Int64 {
	posts := new(atomic.Int64)
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			posts.Add(1)
			panic(http.ErrAbortHandler)
		}
	})
	return posts
}

func TestUpstream_Failures(t *testing.T) {
	t.Run("unreachable", func(t *testing.T) {
		w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = Upstreams{"http://" + unusedAddress} })
		res, body := w.get(w.client(true), "https://"+openHost+"/")
		if res.StatusCode != 502 || !strings.Contains(body, string(upstreamUnavailable)) || strings.Contains(body, unusedAddress) {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	})
	t.Run("timeout", func(t *testing.T) {
		w := newWorld(t, func(s *Settings) { s.Routes[1].Timeout = 50 * time.Millisecond })
		w.setUpstream(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		res, body := w.get(w.client(true), "https://"+openHost+"/")
		if res.StatusCode != 504 || !strings.Contains(body, string(upstreamTimeout)) || w.metric("sallyport_upstream_errors_total", "reason", string(upstreamTimeout)) != 1 {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	})
	t.Run("response_cut_short_looks_incomplete", func(t *testing.T) {
		w := newWorld(t, func(s *Settings) {
			s.Routes[1].Upstream = Upstreams{rawUpstream(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\nX\r\n")}
		})
		bothProtocols(t, w, func(t *testing.T, c *http.Client) {
			res := w.open(c, "GET", "/", nil)
			if _, err := io.ReadAll(res.Body); err == nil {
				t.Error("the response looks complete")
			}
		})
	})
	t.Run("malformed_request_body", func(t *testing.T) {
		w := newWorld(t, nil)
		w.setUpstream(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
		conn := w.sendRaw("POST / HTTP/1.1\r\nHost: " + openHost + "\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		w.must(err)
		if res.StatusCode != 400 || w.metric("sallyport_upstream_errors_total") != 0 {
			t.Errorf("%d", res.StatusCode)
		}
	})
	t.Run("POST_is_sent_once", func(t *testing.T) {
		w := newWorld(t, nil)
		posts := dropsPosts(w)
		c := w.client(true)
		for range 5 {
			w.get(c, "https://"+openHost+"/") // leaves an idle connection
			if res, _ := w.send(c, "POST", "https://"+openHost+"/", strings.NewReader("x")); res.StatusCode != 502 {
				t.Errorf("%d", res.StatusCode)
			}
		}
		if posts.Load() != 5 {
			t.Errorf("the upstream saw %d POSTs, want 5", posts.Load())
		}
	})
	t.Run("POST_with_idempotency_key_is_sent_once", func(t *testing.T) {
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
			t.Errorf("the upstream saw %d POSTs, want 5", posts.Load())
		}
	})
	t.Run("no_body_stays_no_body", func(t *testing.T) {
		w := newWorld(t, nil)
		w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
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
	t.Run("client_gone", func(t *testing.T) {
		w := newWorld(t, nil)
		reached, gone := w.serveStreams()
		conn := w.sendRaw("GET /pending HTTP/1.1\r\nHost: " + openHost + "\r\n\r\n")
		await(t, "the upstream is reached", reached)
		conn.Close()
		await(t, "the upstream sees the end", gone)
		w.eventually("it is counted as gone", func() bool { return w.metric("sallyport_http_requests_total", "route", "open", "code", "499") == 1 })
	})
}

// TestUpstream_ReloadKeepsConnections checks that a reload keeps the connections to upstreams that stay the same.
func TestUpstream_ReloadKeepsConnections(t *testing.T) {
	w := newWorld(t, nil)
	peers := map[string]bool{}
	w.setUpstream(func(_ http.ResponseWriter, r *http.Request) { peers[r.RemoteAddr] = true })
	c := w.client(true)
	for range 5 {
		w.get(c, "https://"+openHost+"/")
		w.must(w.proxy.Load(w.settings))
	}
	if len(peers) != 1 {
		t.Errorf("%d connections, want 1", len(peers))
	}
}
