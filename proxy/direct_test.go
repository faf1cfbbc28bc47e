package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// script is an upstream that answers each request with the next of some texts, on whatever connection it comes, and
// counts the connections. After an answer that ends with closing, it closes.
type script struct {
	addr    string
	dialled atomic.Int64

	mu      sync.Mutex // guards answers
	answers []string
}

const closing = "\x00close"

func newScript(t testing.TB, answers ...string) *script {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &script{addr: l.Addr().String(), answers: answers}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.dialled.Add(1)
			go s.serve(conn)
		}
	}()
	return s
}

func (s *script) next() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.answers) == 0 {
		return closing
	}
	text := s.answers[0]
	s.answers = s.answers[1:]
	return text
}

func (s *script) serve(conn net.Conn) {
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

// ask sends one GET and reads the answer to its end.
func ask(ctx context.Context, through http.RoundTripper, addr string) (res *http.Response, body []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		return nil, nil, err
	}
	if res, err = through.RoundTrip(r); err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	return res, body, err
}

const fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// TestDirectConnections: which answers leave their connection to the next request, and which are the last on it.
func TestDirectConnections(t *testing.T) {
	for says, c := range map[string]struct {
		first  string
		dialed int64
		body   string
	}{
		"a length":                      {fine, 1, "ok"},
		"chunks":                        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1, "ok"},
		"chunks and trailers":           {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n", 1, "ok"},
		"no body":                       {"HTTP/1.1 204 No Content\r\n\r\n", 1, ""},
		"not modified":                  {"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 1, ""},
		"an early answer before":        {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + fine, 1, "ok"},
		"a body that ends with it":      {"HTTP/1.1 200 OK\r\n\r\nok" + closing, 2, "ok"},
		"connection: close":             {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 2, "ok"},
		"HTTP/1.0":                      {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 2, "ok"},
		"more than was asked for":       {fine + fine, 2, "ok"},
		"a length and chunks":           {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 2, "ok"},
		"the same length twice":         {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 2, "ok"},
		"a folded line":                 {"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok", 2, "ok"},
		"lines without carriage return": {"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 2, "ok"},
		"a head longer than the buffer": {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*wireBuffer) + "\r\nContent-Length: 2\r\n\r\nok", 2, "ok"},
		"a farewell":                    {fine + closing, 2, "ok"},
	} {
		t.Run(says, func(t *testing.T) {
			s := newScript(t, c.first, fine)
			d := newDirect(s.addr, time.Minute)
			defer d.CloseIdleConnections()
			_, body, err := ask(t.Context(), d, s.addr)
			if err != nil || string(body) != c.body {
				t.Fatalf("%q, %v", body, err)
			}
			if _, body, err := ask(t.Context(), d, s.addr); err != nil || string(body) != "ok" {
				t.Fatalf("the next gets %q, %v", body, err)
			}
			if n := s.dialled.Load(); n != c.dialed {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// TestDirectAsksAgain: only where a kept connection was closed before any of the answer came, and once.
func TestDirectAsksAgain(t *testing.T) {
	s := newScript(t, fine, closing, fine) // the second request is read, and then the connection closed
	d := newDirect(s.addr, time.Minute)
	for range 2 {
		if _, body, err := ask(t.Context(), d, s.addr); err != nil || string(body) != "ok" {
			t.Fatalf("%q, %v", body, err)
		}
	}
	if n := s.dialled.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
	s = newScript(t, fine, "HTTP/1.1 200 OK\r\nContent-"+closing, fine)
	d = newDirect(s.addr, time.Minute)
	if _, _, err := ask(t.Context(), d, s.addr); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ask(t.Context(), d, s.addr); err == nil {
		t.Error("an answer that broke off is asked for again")
	}
	s = newScript(t, closing, fine)
	if _, _, err := ask(t.Context(), newDirect(s.addr, time.Minute), s.addr); err == nil {
		t.Error("a new connection that is closed is tried again")
	}
}

// TestDirectPassesEarlyAnswersOn, and not without end.
func TestDirectPassesEarlyAnswersOn(t *testing.T) {
	const hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	var links []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		links = append(links, h.Get("Link"))
		return nil
	}})
	s := newScript(t, strings.Repeat(hint, mostEarly)+fine)
	if _, _, err := ask(ctx, newDirect(s.addr, time.Minute), s.addr); err != nil || len(links) != mostEarly {
		t.Errorf("%q, %v", links, err)
	}
	s = newScript(t, strings.Repeat(hint, mostEarly+1)+fine)
	if _, _, err := ask(ctx, newDirect(s.addr, time.Minute), s.addr); err == nil {
		t.Error("early answers without end are taken")
	}
}

// TestDirectEndsWithItsRequest: whatever it waits for.
func TestDirectEndsWithItsRequest(t *testing.T) {
	for says, answer := range map[string]string{"before the answer": "", "in its head": "HTTP/1.1 200", "in its body": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"} {
		t.Run(says, func(t *testing.T) {
			s := newScript(t, answer)
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer stop()
			if _, _, err := ask(ctx, newDirect(s.addr, time.Minute), s.addr); err == nil {
				t.Error("it goes on")
			}
		})
	}
	s := newScript(t, "")
	_, _, err := ask(t.Context(), newDirect(s.addr, 20*time.Millisecond), s.addr)
	if !isTimeout(err) {
		t.Errorf("an upstream that is too slow gives %v", err)
	}
}

// TestDirectClosesWhatIsIdle: after a while, by itself.
func TestDirectClosesWhatIsIdle(t *testing.T) {
	s := newScript(t, fine, fine)
	d := newDirect(s.addr, time.Minute)
	if _, _, err := ask(t.Context(), d, s.addr); err != nil {
		t.Fatal(err)
	}
	d.reap(time.Now().Add(idleTimeout - time.Second))
	if len(d.idle) != 1 {
		t.Fatal("closed too early")
	}
	d.reap(time.Now().Add(idleTimeout))
	if len(d.idle) != 0 || d.reaper != nil {
		t.Error("kept for ever")
	}
}

// TestHeads: what the upstream reads is what the stock transport would have it read; no part gets out of its line.
func TestHeads(t *testing.T) {
	written := func(write func(io.Writer, *http.Request) error, r *http.Request) (*http.Request, error) {
		var out bytes.Buffer
		if err := write(&out, r); err != nil {
			return nil, err
		}
		return http.ReadRequest(bufio.NewReader(&out))
	}
	ours := func(to io.Writer, r *http.Request) error {
		out := bufio.NewWriter(to)
		return errors.Join(writeHead(out, r), out.Flush())
	}
	request := func(change func(*http.Request)) *http.Request {
		r := &http.Request{Method: "GET", Host: "app.example.com", URL: &url.URL{Scheme: "http", Host: "10.0.0.1:80", Opaque: "/a%20b", RawQuery: "x=1"},
			Header: http.Header{"Accept": {"a", "b"}, "User-Agent": {""}, "X": {""}, "Content-Length": {"7"}, "Host": {"other"}}}
		change(r)
		return r
	}
	for says, change := range map[string]func(*http.Request){
		"as usual":   func(*http.Request) {},
		"a browser":  func(r *http.Request) { r.Header["User-Agent"] = []string{"Mozilla/5.0"} },
		"a question": func(r *http.Request) { r.Method, r.URL.RawQuery, r.URL.ForceQuery = "OPTIONS", "", true },
		"a socket": func(r *http.Request) {
			r.Header["Connection"], r.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
		},
	} {
		got, err := written(ours, request(change))
		want, errStock := written(func(to io.Writer, r *http.Request) error { return r.Write(to) }, request(change))
		if err != nil || errStock != nil {
			t.Fatalf("%s: %v, %v", says, err, errStock)
		}
		if got.Method != want.Method || got.RequestURI != want.RequestURI || got.Host != want.Host || !reflect.DeepEqual(got.Header, want.Header) {
			t.Errorf("%s: %v\nwant %v", says, got, want)
		}
	}
	for says, change := range map[string]func(*http.Request){
		"a value of two lines":  func(r *http.Request) { r.Header["X"] = []string{"a\r\nY: b"} },
		"a value with a return": func(r *http.Request) { r.Header["X"] = []string{"a\rb"} },
		"a name of two words":   func(r *http.Request) { r.Header["X: a\r\nY"] = []string{"b"} },
		"a path of two words":   func(r *http.Request) { r.URL.Opaque = "/a HTTP/1.1" },
		"a query of two lines":  func(r *http.Request) { r.URL.RawQuery = "a\r\nX: y" },
		"a host of two lines":   func(r *http.Request) { r.Host = "a\nX: y" },
		"a method of two words": func(r *http.Request) { r.Method = "GET /" },
	} {
		if got, err := written(ours, request(change)); !errors.Is(err, errOddHead) {
			t.Errorf("%s: %v, %v", says, got, err)
		}
	}
}

// FuzzDirect: what direct makes of any bytes is what the stock transport makes of them.
func FuzzDirect(f *testing.F) {
	for _, seed := range []string{fine, "", "\r\n", "HTTP/1.1 200\r\n\r\nx", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.0 200 OK\n\nx", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
		"HTTP/1.1 100 Continue\r\n\r\n" + fine, "HTTP/1.1 101 x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", "HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\n: x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 999 x\r\n\r\n", "HTTP/1.1 000 x\r\n\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		if bytes.HasSuffix(answer, []byte(closing)) || len(answer) > 64<<10 {
			t.Skip()
		}
		s := newScript(t, string(answer)+closing, string(answer)+closing)
		stock := newTransport(time.Minute, nil, "http")
		defer stock.CloseIdleConnections()
		ours, ourBody, ourErr := ask(t.Context(), newDirect(s.addr, time.Minute), s.addr)
		theirs, theirBody, theirErr := ask(t.Context(), stock, s.addr)
		if theirs != nil && theirs.StatusCode == http.StatusSwitchingProtocols {
			if ourErr == nil {
				t.Error("we switched unasked")
			}
			return
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
