package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
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
		t.Run("events_arrive_at_once", func(t *testing.T) {
			more := make(chan struct{})
			w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
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
		t.Run("parts_of_response_with_length_arrive_at_once", func(t *testing.T) {
			more := make(chan struct{})
			w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
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
		t.Run("response_begins_during_upload", func(t *testing.T) {
			w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
				http.NewResponseController(rw).EnableFullDuplex()
				http.NewResponseController(rw).Flush()
				for lines := bufio.NewScanner(r.Body); lines.Scan(); {
					fmt.Fprintln(rw, strings.ToUpper(lines.Text()))
					http.NewResponseController(rw).Flush()
				}
			})
			body, input := io.Pipe()
			res := w.open(c, "POST", "/", body)
			lines := bufio.NewReader(res.Body)
			for _, word := range []string{"one", "two"} {
				fmt.Fprintln(input, word)
				if line, err := lines.ReadString('\n'); err != nil || line != strings.ToUpper(word)+"\n" {
					t.Fatalf("%q, %v", line, err)
				}
			}
			input.Close()
		})
		t.Run("trailers_and_early_hints", func(t *testing.T) {
			w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
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
		t.Run("trailers_without_framing_and_cookies", func(t *testing.T) {
			w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
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
		t.Run("no_trailers_of_requests", func(t *testing.T) {
			var seen http.Header
			w.setUpstream(func(rw http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); seen = r.Trailer.Clone() })
			r, _ := http.NewRequestWithContext(w.ctx, "POST", "https://"+openHost+"/", struct{ io.Reader }{strings.NewReader("x")})
			r.Trailer = http.Header{"X-Forwarded-User": {forged}, "X-Other": {forged}}
			res, err := c.Do(r)
			w.must(err)
			res.Body.Close()
			if len(seen) != 0 {
				t.Errorf("the upstream sees %v", seen)
			}
		})
		t.Run("methods_bodies_codes_and_encodings", func(t *testing.T) {
			w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
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
		t.Run("client_waits_for_100_continue", func(t *testing.T) {
			w.setUpstream(func(rw http.ResponseWriter, r *http.Request) { io.Copy(rw, r.Body) })
			if _, body := w.send(c, "PUT", "https://"+openHost+"/x", strings.NewReader("body"), "Expect", "100-continue"); body != "body" {
				t.Errorf("%q", body)
			}
		})
	})
}

// TestTrailer_OnlyWhatMayStandThere checks that a trailer of the upstream brings no field that a client could take for one
// of the header (RFC 9110 §6.5.1), declared or not.
func TestTrailer_OnlyWhatMayStandThere(t *testing.T) {
	const fields = "Content-Type: text/html\r\nContent-Security-Policy: x\r\nSet-Cookie: a=b\r\nLocation: /\r\nCache-Control: public\r\n" +
		"Access-Control-Allow-Origin: *\r\nStrict-Transport-Security: max-age=0\r\nWww-Authenticate: Basic\r\nClear-Site-Data: *\r\nX-Auth-User: root\r\nHost: x\r\n" +
		"X-Sum: 1\r\nContent-Digest: x\r\nGrpc-Status: 0\r\n\r\n"
	for name, declared := range map[string]string{"declared": "Trailer: X-Sum, Set-Cookie, Location, Grpc-Status, Content-Digest, Strict-Transport-Security\r\n", "not_declared": ""} {
		w := newWorld(t, func(s *Settings) {
			s.Routes[1].Upstream = Upstreams{rawUpstream(t, "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"+declared+"\r\n2\r\nok\r\n0\r\n"+fields)}
		})
		bothProtocols(t, w, func(t *testing.T, c *http.Client) {
			res := w.open(c, "GET", "/", nil)
			_, err := io.ReadAll(res.Body)
			w.must(err)
			if len(res.Trailer) != 3 || res.Trailer.Get("X-Sum") != "1" || res.Trailer.Get("Content-Digest") != "x" || res.Trailer.Get("Grpc-Status") != "0" {
				t.Errorf("%s: %v", name, res.Trailer)
			}
		})
	}
}

// TestForward_NoContentHasNoLength checks that a response without content does not say that some follows.
func TestForward_NoContentHasNoLength(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := serveRaw(t, secure, func(conn net.Conn, _ *net.TCPConn, _ *http.Request) {
			_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
		})
		w := newWorld(t, func(settings *Settings) { s.use(&settings.Routes[1]) })
		conn := w.sendRaw("GET / HTTP/1.1\r\nHost: " + openHost + "\r\nConnection: close\r\n\r\n")
		all, err := io.ReadAll(conn)
		w.must(err)
		if text := string(all); !strings.HasPrefix(text, "HTTP/1.1 204 ") || strings.Contains(text, "Content-Length") || strings.Contains(text, "h2c") || strings.Contains(text, "200 OK") {
			t.Errorf("%q", text)
		}
	}
}

// TestForward_FollowsNoRedirect checks that a redirect of the upstream is forwarded to the client.
func TestForward_FollowsNoRedirect(t *testing.T) {
	w := newWorld(t, nil)
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
	})
	if res, _ := w.get(w.client(true), "https://"+openHost+"/"); res.StatusCode != 302 || res.Header.Get("Location") != "http://169.254.169.254/latest/meta-data" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}
