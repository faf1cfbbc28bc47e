package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"

	"sallyport/proxy/internal/upstream"
)

// http2Upstream returns the URL of an upstream that speaks HTTP/2 without TLS.
func http2Upstream(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return strings.Replace(s.URL, "http", "h2c", 1)
}

// TestInformational_Bounded checks that an upstream that sends informational responses without end is an error with a
// reason of its own, and loses its connection: for every method, whether or not it reads the body, and over every
// protocol.
func TestInformational_Bounded(t *testing.T) {
	one := map[string]string{
		"many": "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
		"long": "HTTP/1.1 103 Early Hints\r\nLink: " + strings.Repeat("x", upstream.MaxHeaderBytes/3) + "\r\n\r\n",
		"100":  "HTTP/1.1 100 Continue\r\n\r\n",
	}
	test := func(t *testing.T, w *world, ended chan struct{}) {
		for kind := range one {
			for _, method := range []string{"GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "POST with Expect", "POST of a long body"} {
				name, rest, _ := strings.Cut(method, " ")
				body, headers := io.Reader(nil), []string{"X-Kind", kind, "Accept", "application/json"}
				switch rest {
				case "with Expect":
					body, headers = strings.NewReader("body"), append(headers, "Expect", "100-continue")
				case "of a long body":
					body = strings.NewReader(strings.Repeat("x", 4<<20))
				}
				res, text := w.send(w.client(true), name, "https://"+openHost+"/", body, headers...)
				if res.StatusCode != 502 || name != "HEAD" && !strings.Contains(text, `"upstream_informational"`) {
					t.Errorf("%s, %s: %d %s", method, kind, res.StatusCode, text)
				}
				await(t, method+", "+kind+": the upstream loses its connection", ended)
			}
		}
		if w.metric("sallyport_upstream_errors_total", "reason", "upstream_informational") != 24 {
			t.Error("the errors are not counted")
		}
	}
	bothSchemes(t, func(t *testing.T, secure bool) {
		ended := make(chan struct{}, 1)
		s := serveRaw(t, secure, func(conn net.Conn, _ *net.TCPConn, r *http.Request) {
			for err := error(nil); err == nil; {
				_, err = io.WriteString(conn, one[r.Header.Get("X-Kind")])
			}
			ended <- struct{}{}
		})
		test(t, newWorld(t, func(settings *Settings) { s.use(&settings.Routes[1]) }), ended)
	})
	t.Run("h2c", func(t *testing.T) {
		ended := make(chan struct{}, 1)
		url := http2Upstream(t, func(rw http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				rw.Header().Set("Link", strings.Repeat("x", len(one[r.Header.Get("X-Kind")])))
				rw.WriteHeader(http.StatusEarlyHints)
			}
			ended <- struct{}{}
		})
		test(t, newWorld(t, func(s *Settings) { s.Routes[1].Upstream, s.Routes[1].UpstreamTLS = Upstreams{url}, UpstreamTLS{} }), ended)
	})
}

// TestInformational_NotRepeated checks that a request that is sent to a second target passes no informational response
// of that target on if it passed on one of the first.
func TestInformational_NotRepeated(t *testing.T) {
	const hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	bothSchemes(t, func(t *testing.T, secure bool) {
		for name, broken := range map[string]string{"no_header": "", "part_of_a_header": "HTTP/1.1 200 OK\r\nContent-", "invalid_header": "HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n"} {
			requests := 0
			s := serveRaw(t, secure, func(conn net.Conn, _ *net.TCPConn, _ *http.Request) {
				if requests++; requests == 1 {
					_, _ = io.WriteString(conn, hint+broken)
					return
				}
				_, _ = io.WriteString(conn, hint+"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
			})
			w := newWorld(t, func(settings *Settings) {
				s.use(&settings.Routes[1])
				settings.Routes[1].Upstream = append(settings.Routes[1].Upstream, s.url)
			})
			hints := 0
			ctx := httptrace.WithClientTrace(w.ctx, &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error { hints++; return nil }})
			r, err := http.NewRequestWithContext(ctx, "GET", "https://"+openHost+"/", nil)
			w.must(err)
			res, err := w.client(true).Do(r)
			w.must(err)
			text, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode != 200 || string(text) != "ok" || hints != 1 || requests != 2 {
				t.Errorf("%s: %d %q, %d hints in %d requests", name, res.StatusCode, text, hints, requests)
			}
		}
	})
}

// TestInformational_NotToHTTP10 checks that a client of HTTP/1.0 gets no informational responses (RFC 9110 §15.2).
func TestInformational_NotToHTTP10(t *testing.T) {
	w := newWorld(t, nil)
	w.setUpstream(func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(rw, "ok")
	})
	res, err := http.ReadResponse(bufio.NewReader(w.sendRaw(fmt.Sprintf("GET / HTTP/1.0\r\nHost: %s\r\n\r\n", openHost))), nil)
	w.must(err)
	if res.StatusCode != 200 {
		t.Errorf("%d", res.StatusCode)
	}
}

// TestExpect_OnlyWithBody checks that an upstream sees an Expect header only if a body follows, and only in the spelling
// that has a meaning: servers disagree on what any other announces.
func TestExpect_OnlyWithBody(t *testing.T) {
	w := newWorld(t, nil)
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(rw, r.Header["Expect"])
	})
	for _, c := range []struct{ method, body, expect, want string }{
		{"GET", "", "100-continue", "[]"},
		{"POST", "", "100-continue", "[]"},
		{"POST", "x", "100-continue", "[100-continue]"},
		{"POST", "x", "y 100-continue", "[]"},
		{"POST", "x", "", "[]"},
	} {
		bothProtocols(t, w, func(t *testing.T, client *http.Client) {
			res, text := w.send(client, c.method, "https://"+openHost+"/", strings.NewReader(c.body), "Expect", c.expect)
			if res.StatusCode == http.StatusExpectationFailed || res.ProtoMajor == 2 && text == "[]" { // net/http's server handles Expect of HTTP/2 itself
				return
			}
			if text != c.want {
				t.Errorf("%v: %d %s", c, res.StatusCode, text)
			}
		})
	}
}
