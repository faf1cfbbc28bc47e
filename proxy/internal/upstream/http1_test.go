package upstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/proxy/internal/lifetime"
)

// scriptedTarget is a target that sends its responses in order, one for each request on any connection, and counts the
// connections. It closes a connection after a response that ends in closing, and when it has no response left.
type scriptedTarget struct {
	addr   string
	dialed atomic.Int64

	mu        sync.Mutex // guards responses
	responses []string
}

// closing at the end of a response makes the target close the connection after it.
const closing = "\x00close"

func newScriptedTarget(t testing.TB, responses ...string) *scriptedTarget {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &scriptedTarget{addr: l.Addr().String(), responses: responses}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.dialed.Add(1)
			go s.serve(conn)
		}
	}()
	return s
}

func (s *scriptedTarget) next() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.responses) == 0 {
		return closing
	}
	text := s.responses[0]
	s.responses = s.responses[1:]
	return text
}

func (s *scriptedTarget) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		text, last := strings.CutSuffix(s.next(), closing)
		if _, err := io.WriteString(conn, text); err != nil || last {
			return
		}
	}
}

// testTransport is our transport as an http.RoundTripper.
type testTransport struct {
	*http1Transport
	pass receiver
}

func newTestTransport(addr string, timeout time.Duration) testTransport {
	return testTransport{http1Transport: newHTTP1Transport(&dialer{address: addr}, timeout)}
}

func (t testTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	out := requestOf(r)
	if t.pass != nil {
		out.pass = t.pass
	}
	out.begin(time.Now())
	return t.roundTrip(lifetime.New(r.Context()), out, time.Now())
}

// requestOf returns r as a [Request].
func requestOf(r *http.Request) *Request {
	out := &Request{Method: r.Method, Host: r.Host, Path: r.URL.RequestURI(), Header: HTTPHeader(r.Header), Upgrade: len(r.Header["Upgrade"]) > 0,
		Continue: strings.EqualFold(r.Header.Get("Expect"), "100-continue"), host: r.Host}
	if r.Body != nil && r.Body != http.NoBody {
		out.Body, out.ContentLength = r.Body, r.ContentLength
	}
	return out
}

// get sends one GET request and reads the response to its end.
func get(ctx context.Context, transport http.RoundTripper, addr string) (res *http.Response, body []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		return nil, nil, err
	}
	if res, err = transport.RoundTrip(r); err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	return res, body, err
}

const okResponse = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// TestHTTP1Transport_ReusesConnection checks after which responses a connection is used again and after which it is
// closed.
func TestHTTP1Transport_ReusesConnection(t *testing.T) {
	for name, c := range map[string]struct {
		first  string // response
		dialed int64  // connections for two requests
		body   string // of the first response
	}{
		"length":                      {okResponse, 1, "ok"},
		"chunks":                      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1, "ok"},
		"chunks_and_trailers":         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n", 1, "ok"},
		"no_body":                     {"HTTP/1.1 204 No Content\r\n\r\n", 1, ""},
		"not_modified":                {"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 1, ""},
		"informational_first":         {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + okResponse, 1, "ok"},
		"body_until_close":            {"HTTP/1.1 200 OK\r\n\r\nok" + closing, 2, "ok"},
		"connection_close":            {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 2, "ok"},
		"HTTP_1.0":                    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 2, "ok"},
		"unsolicited_second_response": {okResponse + okResponse, 2, "ok"},
		"length_and_chunks":           {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 2, "ok"},
		"same_length_twice":           {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 2, "ok"},
		"folded_line":                 {"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok", 2, "ok"},
		"bare_LF":                     {"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 2, "ok"},
		"header_longer_than_buffer":   {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*connBuffer) + "\r\nContent-Length: 2\r\n\r\nok", 2, "ok"},
		"closed_after_response":       {okResponse + closing, 2, "ok"},
		"two_encodings_one_unknown":   {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 2, "ok"},
		"no_content_with_length":      {"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", 2, ""},
		"no_content_of_length_0":      {"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 1, ""},
		"no_content_in_chunks":        {"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 2, ""},
		"not_modified_in_chunks":      {"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 2, ""},
		"informational_with_length":   {"HTTP/1.1 103 Early Hints\r\nContent-Length: 7\r\n\r\n" + okResponse, 2, "ok"},
		"informational_is_ambiguous":  {"HTTP/1.1 103 Early Hints\nLink: </a>\r\n\r\n" + okResponse, 2, "ok"},
		"tab_after_colon":             {"HTTP/1.1 200 OK\r\nContent-Length:\t2\r\n\r\nok", 1, "ok"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScriptedTarget(t, c.first, okResponse)
			d := newTestTransport(s.addr, time.Minute)
			defer d.CloseIdleConnections()
			_, body, err := get(t.Context(), d, s.addr)
			if err != nil || string(body) != c.body {
				t.Fatalf("%q, %v", body, err)
			}
			if _, body, err := get(t.Context(), d, s.addr); err != nil || string(body) != "ok" {
				t.Fatalf("the next request: %q, %v", body, err)
			}
			if n := s.dialed.Load(); n != c.dialed {
				t.Errorf("%d connections, want %d", n, c.dialed)
			}
		})
	}
}

// TestHTTP1Transport_RejectsHeader checks that a header that two readers could take for different ones is an error, however
// long it is.
func TestHTTP1Transport_RejectsHeader(t *testing.T) {
	const fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
	for name, head := range map[string]string{
		"NUL_in_value":             fine + "X: a\x00b\r\n",
		"NUL_in_status_line":       "HTTP/1.1 200 O\x00K\r\nContent-Length: 2\r\n",
		"bare_CR_in_value":         fine + "X: a\rY: b\r\n",
		"bare_CR_in_status_line":   "HTTP/1.1 200 OK\rX: y\r\nContent-Length: 2\r\n",
		"two_CRs":                  fine + "X: a\r\r\n",
		"no_colon":                 fine + "X\r\n",
		"no_name":                  fine + ": x\r\n",
		"space_before_colon":       "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n",
		"encoding_and_space":       fine + "Transfer-Encoding : chunked\r\n",
		"space_in_name":            fine + "X Y: z\r\n",
		"tab_in_name":              fine + "X\tY: z\r\n",
		"fold_first":               "HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 2\r\n",
		"obs-text_in_name":         fine + "X\x80: y\r\n",
		"two_lengths":              fine + "Content-Length: 3\r\n",
		"list_of_lengths":          "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n",
		"signed_length":            "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n",
		"negative_length":          "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n",
		"length_in_hex":            "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n",
		"signed_length_of_304":     "HTTP/1.1 304 Not Modified\r\nContent-Length: +2\r\n",
		"list_of_lengths_of_204":   "HTTP/1.1 204 No Content\r\nContent-Length: 2, 3\r\n",
		"empty_length":             "HTTP/1.1 200 OK\r\nContent-Length:\r\n",
		"folded_length":            "HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n",
		"unknown_encoding":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n",
		"identity_encoding":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n",
		"encoding_twice":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
		"encoding_in_HTTP/1.0":     "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n",
		"HTTP/2.0":                 "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n",
		"HTTP/1.2":                 "HTTP/1.2 200 OK\r\nContent-Length: 2\r\n",
		"HTTP/0.9":                 "<html>",
		"lower-case_version":       "http/1.1 200 OK\r\nContent-Length: 2\r\n",
		"empty_line_first":         "\r\n" + fine,
		"status_of_four_digits":    "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n",
		"status_of_two_digits":     "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n",
		"signed_status":            "HTTP/1.1 +20 OK\r\nContent-Length: 2\r\n",
		"unasked_switch":           "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
		"trailer_of_length":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n",
		"longer_than_limit":        fine + "X: " + strings.Repeat("x", MaxHeaderBytes) + "\r\n",
		"many_longer_than_limit":   fine + strings.Repeat("X: y\r\n", MaxHeaderBytes/6),
		"informational_with_NUL":   "HTTP/1.1 103 Early\r\nLink: \x00\r\n\r\n" + fine,
		"length_in_status_of_100s": "HTTP/1.1 199 X\r\nX Y: z\r\n\r\n" + fine,
	} {
		for _, long := range []string{"", "X-Long: " + strings.Repeat("x", 3*connBuffer) + "\r\n"} {
			s := newScriptedTarget(t, head+long+"\r\nok", okResponse)
			d := newTestTransport(s.addr, time.Minute)
			if res, body, err := get(t.Context(), d, s.addr); err == nil {
				t.Errorf("%s: %d %v %q", name, res.StatusCode, res.Header, body)
			}
			if len(d.idle) != 0 {
				t.Errorf("%s: the connection may be used again", name)
			}
		}
	}
}

// TestHTTP1Transport_HeadWithBody checks that a connection is not used again after a response to HEAD that announces a
// body: some servers send it.
func TestHTTP1Transport_HeadWithBody(t *testing.T) {
	for response, idle := range map[string]int{okResponse[:len(okResponse)-len("ok")]: 0, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n": 1, "HTTP/1.1 200 OK\r\n\r\n": 1} {
		s := newScriptedTarget(t, response)
		d := newTestTransport(s.addr, time.Minute)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, "http://"+s.addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := d.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if len(d.idle) != idle {
			t.Errorf("%q: %d idle connections", response, len(d.idle))
		}
	}
}

// TestHTTP1Transport_Retries checks that a request is sent a second time only if it was sent over an idle connection
// that was closed before any of the response arrived.
func TestHTTP1Transport_Retries(t *testing.T) {
	s := newScriptedTarget(t, okResponse, closing, okResponse) // the connection is closed after the second request was read
	d := newTestTransport(s.addr, time.Minute)
	for range 2 {
		if _, body, err := get(t.Context(), d, s.addr); err != nil || string(body) != "ok" {
			t.Fatalf("%q, %v", body, err)
		}
	}
	if n := s.dialed.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
	s = newScriptedTarget(t, okResponse, "HTTP/1.1 200 OK\r\nContent-"+closing, okResponse)
	d = newTestTransport(s.addr, time.Minute)
	if _, _, err := get(t.Context(), d, s.addr); err != nil {
		t.Fatal(err)
	}
	if _, _, err := get(t.Context(), d, s.addr); err == nil {
		t.Error("a request is repeated after a response that broke off")
	}
	s = newScriptedTarget(t, closing, okResponse)
	if _, _, err := get(t.Context(), newTestTransport(s.addr, time.Minute), s.addr); err == nil {
		t.Error("a request is repeated after a new connection was closed")
	}
}

// TestHTTP1Transport_PassesInformational checks that a request receives up to maxInformational informational responses,
// and fails if there are more.
func TestHTTP1Transport_PassesInformational(t *testing.T) {
	const hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	var links []string
	s := newScriptedTarget(t, strings.Repeat(hint, maxInformational)+okResponse)
	d := newTestTransport(s.addr, time.Minute)
	d.pass = func(code int, h http.Header) { links = append(links, h.Get("Link")) }
	if _, _, err := get(t.Context(), d, s.addr); err != nil || len(links) != maxInformational {
		t.Errorf("%q, %v", links, err)
	}
	s = newScriptedTarget(t, strings.Repeat(hint, maxInformational+1)+okResponse)
	if _, _, err := get(t.Context(), newTestTransport(s.addr, time.Minute), s.addr); err == nil {
		t.Error("informational responses without end are accepted")
	}
}

// TestHTTP1Transport_EndsWithContext checks that a request ends with its context or its timeout, whatever it waits for.
func TestHTTP1Transport_EndsWithContext(t *testing.T) {
	for name, response := range map[string]string{"no_response": "", "incomplete_header": "HTTP/1.1 200", "incomplete_body": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"} {
		t.Run(name, func(t *testing.T) {
			s := newScriptedTarget(t, response)
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer stop()
			if _, _, err := get(ctx, newTestTransport(s.addr, time.Minute), s.addr); err == nil {
				t.Error("the request does not end")
			}
		})
	}
	s := newScriptedTarget(t, "")
	_, _, err := get(t.Context(), newTestTransport(s.addr, 20*time.Millisecond), s.addr)
	if !IsTimeout(err) {
		t.Errorf("a slow target: %v", err)
	}
}

// TestHTTP1Transport_SlowResponse checks that a response is read whole although its target takes its time before each part
// of it, with TLS and without, and that the connection is used again.
func TestHTTP1Transport_SlowResponse(t *testing.T) {
	for _, secure := range []bool{false, true} {
		var conns atomic.Int64
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, out, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			conns.Add(1)
			for ; err == nil; _, err = http.ReadRequest(out.Reader) {
				for _, part := range []string{"HTTP/1.1 103 Early", " Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 2", "00 OK\r\nContent-Length: 2\r\n\r\n", "ok"} {
					time.Sleep(2 * promptly)
					_, _ = io.WriteString(conn, part)
				}
			}
		}))
		if secure {
			s.StartTLS()
		} else {
			s.Start()
		}
		defer s.Close()
		d := newTestTransport(s.Listener.Addr().String(), time.Minute)
		if secure {
			d.dialer.tls = s.Client().Transport.(*http.Transport).TLSClientConfig
		}
		for range 2 {
			if res, body, err := get(t.Context(), d, d.dialer.address); err != nil || string(body) != "ok" || res.StatusCode != 200 {
				t.Fatalf("secure %t: %q, %v", secure, body, err)
			}
		}
		if conns.Load() != 1 {
			t.Errorf("secure %t: %d connections", secure, conns.Load())
		}
		d.CloseIdleConnections()
	}
}

// TestHTTP1Transport_TimesOutOnUsedTLS has a target not respond to the second request on a connection. Between the two, the
// look for decrypted bytes took a deadline of its own.
func TestHTTP1Transport_TimesOutOnUsedTLS(t *testing.T) {
	requests, ended := 0, make(chan bool)
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if requests++; requests == 2 {
			<-ended
		}
	}))
	defer s.Close()
	defer close(ended)
	d := newTestTransport(s.Listener.Addr().String(), time.Hour)
	d.dialer.tls = s.Client().Transport.(*http.Transport).TLSClientConfig
	if _, _, err := get(t.Context(), d, d.dialer.address); err != nil {
		t.Fatal(err)
	}
	d.timeout = 2 * promptly
	if _, _, err := get(t.Context(), d, d.dialer.address); !IsTimeout(err) {
		t.Error(err)
	}
	d.CloseIdleConnections()
}

// TestHTTP1Transport_EndsWithClient checks that the target is left too when the client leaves, whatever a request over a kept
// connection waits for: the header of the response, its body, or the target that does not read.
func TestHTTP1Transport_EndsWithClient(t *testing.T) {
	for name, respond := range map[string]string{"header": "HTTP/1.1 100 Continue\r\n\r\n", "body": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "sending": ""} {
		t.Run(name, func(t *testing.T) {
			reached, left := make(chan bool), make(chan bool)
			addr, _ := badTarget(t, func(conn *net.TCPConn) {
				in := bufio.NewReader(conn)
				_, _ = http.ReadRequest(in)
				_, _ = io.WriteString(conn, okResponse)
				if name == "sending" {
					_, _ = in.Peek(1)
					close(reached)
					<-left
					return
				}
				_, _ = http.ReadRequest(in)
				_, _ = io.WriteString(conn, respond)
				close(reached)
				_, _ = io.Copy(io.Discard, in)
				close(left)
			})
			transport := newTestTransport(addr, time.Hour)
			if _, _, err := get(t.Context(), transport, addr); err != nil {
				t.Fatal(err)
			}
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			if name == "sending" {
				r.Header.Set("X", strings.Repeat("x", 64<<20))
			}
			go func() { <-reached; leave() }()
			res, err := transport.RoundTrip(r)
			if err == nil {
				_, err = io.ReadAll(res.Body)
			}
			if err == nil {
				t.Error("the request goes on")
			}
			if name == "sending" {
				close(left)
			}
			<-left
		})
	}
}

// TestHTTP1Transport_ClosesIdle checks that idle connections are closed after a while.
func TestHTTP1Transport_ClosesIdle(t *testing.T) {
	s := newScriptedTarget(t, okResponse, okResponse)
	d := newTestTransport(s.addr, time.Minute)
	if _, _, err := get(t.Context(), d, s.addr); err != nil {
		t.Fatal(err)
	}
	d.reap(time.Now().Add(idleTimeout - time.Second))
	if len(d.idle) != 1 {
		t.Fatal("closed too soon")
	}
	d.reap(time.Now().Add(idleTimeout))
	if len(d.idle) != 0 || d.reaper != nil {
		t.Error("an idle connection is never closed")
	}
}

// TestHeadWriter checks that the target reads the same request as from net/http's transport, and that a part that
// does not fit into its line is rejected.
func TestHeadWriter(t *testing.T) {
	written := func(write func(io.Writer, *http.Request) error, r *http.Request) (*http.Request, error) {
		var out bytes.Buffer
		if err := write(&out, r); err != nil {
			return nil, err
		}
		return http.ReadRequest(bufio.NewReader(&out))
	}
	ours := func(to io.Writer, r *http.Request) error {
		out := bufio.NewWriter(to)
		return errors.Join(newHeadWriter(out).write(requestOf(r)), out.Flush())
	}
	request := func(change func(*http.Request)) *http.Request {
		r := &http.Request{Method: "GET", Host: "app.example.com", URL: &url.URL{Scheme: "http", Host: "10.0.0.1:80", Opaque: "/a%20b", RawQuery: "x=1"},
			Header: http.Header{"Accept": {"a", "b"}, "User-Agent": {""}, "X": {""}, "Content-Length": {"7"}, "Host": {"other"}}}
		change(r)
		return r
	}
	for name, change := range map[string]func(*http.Request){
		"GET":     func(*http.Request) {},
		"browser": func(r *http.Request) { r.Header["User-Agent"] = []string{"Mozilla/5.0"} },
		"OPTIONS": func(r *http.Request) { r.Method, r.URL.RawQuery, r.URL.ForceQuery = "OPTIONS", "", true },
		"WebSocket": func(r *http.Request) {
			r.Header["Connection"], r.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
		},
	} {
		got, err := written(ours, request(change))
		want, errStock := written(func(to io.Writer, r *http.Request) error { return r.Write(to) }, request(change))
		if err != nil || errStock != nil {
			t.Fatalf("%s: %v, %v", name, err, errStock)
		}
		if got.Method != want.Method || got.RequestURI != want.RequestURI || got.Host != want.Host || !reflect.DeepEqual(got.Header, want.Header) {
			t.Errorf("%s: %v\nwant %v", name, got, want)
		}
	}
	for name, change := range map[string]func(*http.Request){
		"value with CRLF":   func(r *http.Request) { r.Header["X"] = []string{"a\r\nY: b"} },
		"value with CR":     func(r *http.Request) { r.Header["X"] = []string{"a\rb"} },
		"name with CRLF":    func(r *http.Request) { r.Header["X: a\r\nY"] = []string{"b"} },
		"path with space":   func(r *http.Request) { r.URL.Opaque = "/a HTTP/1.1" },
		"query with CRLF":   func(r *http.Request) { r.URL.RawQuery = "a\r\nX: y" },
		"host with LF":      func(r *http.Request) { r.Host = "a\nX: y" },
		"method with space": func(r *http.Request) { r.Method = "GET /" },
	} {
		if got, err := written(ours, request(change)); !errors.Is(err, errInvalidRequest) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// FuzzHTTP1Transport checks that our transport reads every response as net/http's transport does.
func FuzzHTTP1Transport(f *testing.F) {
	f.Fuzz(func(t *testing.T, response []byte) {
		if bytes.HasSuffix(response, []byte(closing)) || len(response) > 64<<10 {
			t.Skip()
		}
		s := newScriptedTarget(t, string(response)+closing, string(response)+closing)
		stock := &http.Transport{DisableCompression: true, MaxResponseHeaderBytes: MaxHeaderBytes}
		defer stock.CloseIdleConnections()
		ours, ourBody, ourErr := get(t.Context(), newTestTransport(s.addr, time.Minute), s.addr)
		theirs, theirBody, theirErr := get(t.Context(), stock, s.addr)
		if theirs != nil && theirs.StatusCode == http.StatusSwitchingProtocols {
			if ourErr == nil {
				t.Error("our transport accepts a 101 to a request without Upgrade")
			}
			return
		}
		if errors.Is(ourErr, errInvalidHead) {
			return // we are stricter
		}
		if (ourErr == nil) != (theirErr == nil) && !errors.Is(theirErr, io.ErrUnexpectedEOF) {
			t.Fatalf("ours: %v, stock: %v", ourErr, theirErr)
		}
		if ourErr != nil || theirErr != nil {
			return
		}
		if ours.StatusCode != theirs.StatusCode || !bytes.Equal(ourBody, theirBody) || !maps.EqualFunc(ours.Header, theirs.Header, slices.Equal) {
			t.Errorf("ours: %d %v %q; stock: %d %v %q", ours.StatusCode, ours.Header, ourBody, theirs.StatusCode, theirs.Header, theirBody)
		}
	})
}

// BenchmarkCheckHead measures the look at the header of one response.
func BenchmarkCheckHead(b *testing.B) {
	head := []byte("HTTP/1.1 200 OK\r\nDate: Sat, 28 Nov 2026 20:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\n" +
		"Cache-Control: private, max-age=0\r\nEtag: \"33a64df551425fcc55e4d42a148795d9f25f89d4\"\r\nVary: Accept-Encoding\r\nX-Frame-Options: DENY\r\nServer: x\r\n")
	r := &Request{Method: http.MethodGet}
	b.ReportAllocs()
	for b.Loop() {
		if h, err := checkHead(r, head); !h.unambiguous || err != nil {
			b.Fatal(h, err)
		}
	}
}

// BenchmarkReadHead measures reading a header after the look at it, by net/http and ourselves.
func BenchmarkReadHead(b *testing.B) {
	text := []byte("HTTP/1.1 200 OK\r\nDate: Sat, 28 Nov 2026 20:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\n" +
		"Cache-Control: private, max-age=0\r\nEtag: \"33a64df551425fcc55e4d42a148795d9f25f89d4\"\r\nVary: Accept-Encoding\r\nServer: x\r\n\r\n")
	in, r := bytes.NewReader(text), &Request{Method: http.MethodGet}
	c := newConn(readConn{in: in})
	for _, by := range []string{"http", "plain"} {
		b.Run(by, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				in.Reset(text)
				c.in.Reset(c)
				c.readLimit = unlimited
				h, err := c.peekHead(r)
				if h.plain = by == "plain"; err != nil {
					b.Fatal(err)
				}
				res := c.readPlain(r, h)
				if res == nil {
					res, err = http.ReadResponse(c.in, &http.Request{Method: r.Method})
				}
				if err != nil || res.StatusCode != 200 {
					b.Fatal(res, err)
				}
			}
		})
	}
}

// BenchmarkWriteHead measures writing the header of one request.
func BenchmarkWriteHead(b *testing.B) {
	out := bufio.NewWriterSize(io.Discard, connBuffer)
	w := newHeadWriter(out)
	r := &Request{Method: http.MethodGet, Path: "/api/dashboards/home", Query: "?org=1", host: "grafana.example.com", Header: HTTPHeader{
		"Accept": {"application/json"}, "Accept-Encoding": {"gzip, deflate, br"}, "User-Agent": {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
		"X-Forwarded-For": {"203.0.113.7"}, "X-Forwarded-Host": {"grafana.example.com"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-User": {"alice@example.com"},
		"X-Sallyport-Assertion": {strings.Repeat("x", 500)}}}
	b.ReportAllocs()
	for b.Loop() {
		if err := errors.Join(w.write(r), out.Flush()); err != nil {
			b.Fatal(err)
		}
	}
}

// readConn is a connection that can only be read.
type readConn struct {
	net.Conn
	in io.Reader
}

// Read reads what has arrived.
func (c readConn) Read(p []byte) (int, error) { return c.in.Read(p) }

// FuzzConn_ReadPlain checks that what is read of a plain header, and of the body after it, is what http.ReadResponse reads.
func FuzzConn_ReadPlain(f *testing.F) {
	const status = "HTTP/1.1 200 OK\r\n"
	for _, text := range []string{okResponse, status + "Content-Length:\t2 \r\nx-A: b\r\nX-a:c\r\nSet-Cookie: a=b\r\nset-cookie:\r\n\r\nok", status + "Content-Length: 3\r\n\r\nok",
		"HTTP/1.1 404\r\nTrailer: X\r\nDate: x \r\ncontent-length: 0\r\n\r\n", status + "Content-Length: 0002\r\n\r\nokok", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
		status + "Content-Length: 2\r\nPragma: no-cache\r\n\r\nok", status + "Content-Length: 2\r\nConnection: close\r\n\r\nok", status + "Content-Length: 9223372036854775808\r\n\r\nok",
		status + "Content-Length: 2\r\nX: \x01\r\n\r\nok", status + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok", status + "Content-Length: 2\r\nX\r\n\r\nok",
		status + "Content-Length: 2\r\n\nok"} {
		f.Add([]byte(text), false)
		f.Add([]byte(text), true)
	}
	f.Fuzz(func(t *testing.T, text []byte, head bool) {
		r := &Request{Method: http.MethodGet, ResponseHeader: http.Header{}}
		if head {
			r.Method = http.MethodHead
		}
		c := newConn(readConn{in: bytes.NewReader(text)})
		c.readLimit = unlimited
		h, err := c.peekHead(r)
		if err != nil {
			return
		}
		got := c.readPlain(r, h)
		if got == nil {
			return
		}
		want, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), &http.Request{Method: r.Method})
		if err != nil {
			t.Fatalf("read all the same: %v", err)
		}
		if got.Proto != want.Proto || got.Status != want.Status || got.StatusCode != want.StatusCode || got.ContentLength != want.ContentLength || got.Close != want.Close ||
			!reflect.DeepEqual(got.Header, want.Header) || want.Trailer != nil || want.TransferEncoding != nil || got.ProtoMajor != want.ProtoMajor || got.ProtoMinor != want.ProtoMinor {
			t.Fatalf("%+v\nwant %+v", got, want)
		}
		if b, ok := got.Body.(*responseBody); ok {
			b.conn, got.Body = c, io.NopCloser(readerFunc(b.read))
		}
		body, err := io.ReadAll(got.Body)
		wantBody, wantErr := io.ReadAll(want.Body)
		if !bytes.Equal(body, wantBody) || !errors.Is(err, wantErr) {
			t.Fatalf("%q, %v; want %q, %v", body, err, wantBody, wantErr)
		}
	})
}

// readerFunc is a function that reads.
type readerFunc func([]byte) (int, error)

// Read calls the function.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
