package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/entratest"
	"sallyport/policy"
	"sallyport/session"
)

// stream is one live request. done is closed when the client sees its end; err then tells how it ended.
type stream struct {
	done chan struct{}
	err  error
}

func (s *stream) end(err error) { s.err = err; close(s.done) }

// await waits until c is closed, and fails if that takes too long.
func await(t testing.TB, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("never happened: %s", what)
	}
}

// kind is a kind of live request. open returns once the request is live and both ends have seen a byte of it.
type kind struct {
	name string
	open func(w *world, c *http.Client, url string, headers ...string) *stream
	h1   bool // over HTTP/1.1 only
}

var kinds = []kind{
	{name: "websocket", open: openSocket, h1: true},
	{name: "websocket_unread", open: openDeafSocket, h1: true},
	{name: "events", open: openEvents},
	{name: "download", open: openDownload},
	{name: "download_unread", open: openStuckDownload},
	{name: "upload", open: openUpload},
	{name: "upload_with_length", open: openSizedUpload},
	{name: "pending", open: openPending},
}

// behindStreams makes the upstream hold a request of any kind open until the other side ends it. The channels are closed
// when the request has arrived and when it has ended.
func (w *world) behindStreams() (reached, gone chan struct{}) {
	reached, gone = make(chan struct{}), make(chan struct{})
	w.behindIs(func(rw http.ResponseWriter, r *http.Request) {
		close(reached)
		defer close(gone)
		switch r.URL.Path {
		case "/socket":
			echo(rw, r)
		case "/deaf":
			flood(rw, r)
		case "/events":
			rw.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(rw, "data: tick\n\n")
			http.NewResponseController(rw).Flush()
			<-r.Context().Done()
		case "/download":
			rw.Header().Set("Content-Length", "1000000")
			io.WriteString(rw, "0123456789")
			http.NewResponseController(rw).Flush()
			<-r.Context().Done()
		case "/stuck":
			for err := error(nil); err == nil; {
				_, err = rw.Write(make([]byte, 64<<10))
			}
		case "/upload":
			_, err := io.Copy(io.Discard, r.Body)
			if err == nil {
				w.t.Error("the upload looks complete to the upstream")
			}
		case "/pending":
			<-r.Context().Done()
		}
	})
	return reached, gone
}

func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(-1)
	for {
		typ, data, err := c.Read(context.Background())
		if err != nil || c.Write(context.Background(), typ, data) != nil {
			return
		}
	}
}

// flood writes to a WebSocket until a write fails.
func flood(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	for err == nil {
		err = c.Write(context.Background(), websocket.MessageBinary, make([]byte, 16<<10))
	}
}

func dial(w *world, c *http.Client, url string, headers []string) *websocket.Conn {
	w.t.Helper()
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Add(headers[i], headers[i+1])
	}
	ctx, stop := context.WithTimeout(w.ctx, patience)
	defer stop()
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: c, HTTPHeader: h})
	w.must(err)
	w.t.Cleanup(func() { conn.CloseNow() })
	return conn
}

func openSocket(w *world, c *http.Client, url string, headers ...string) *stream {
	w.t.Helper()
	conn := dial(w, c, url+"/socket", headers)
	w.must(conn.Write(w.ctx, websocket.MessageText, []byte("hello")))
	if _, data, err := conn.Read(w.ctx); err != nil || string(data) != "hello" {
		w.t.Fatalf("echo: %q, %v", data, err)
	}
	s := &stream{done: make(chan struct{})}
	go func() {
		_, _, err := conn.Read(context.Background())
		s.end(err)
	}()
	return s
}

// openDeafSocket opens a WebSocket whose client reads nothing. All buffers fill up, so that only closing the connection
// can end it.
func openDeafSocket(w *world, c *http.Client, url string, headers ...string) *stream {
	w.t.Helper()
	h := "GET /deaf HTTP/1.1\r\nHost: " + strings.TrimPrefix(url, "https://") + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for i := 0; i < len(headers); i += 2 {
		h += headers[i] + ": " + headers[i+1] + "\r\n"
	}
	conn := w.raw(h + "\r\n")
	res, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, 1)), nil)
	if err == nil {
		w.t.Fatalf("a response of one byte: %v", res)
	}
	s := &stream{done: make(chan struct{})}
	s.end(errors.New("the client does not read")) // the test looks at the proxy and the upstream instead
	return s
}

// openResponse sends a request, reads the first bytes of the response and waits for its end.
func openResponse(w *world, c *http.Client, method, url string, body io.Reader, first int, headers []string) *stream {
	w.t.Helper()
	s := &stream{done: make(chan struct{})}
	r, err := http.NewRequestWithContext(w.ctx, method, url, body)
	w.must(err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	res, err := c.Do(r)
	w.must(err)
	_, err = io.ReadFull(res.Body, make([]byte, first))
	w.must(err)
	go func() {
		defer res.Body.Close()
		_, err := io.Copy(io.Discard, res.Body)
		s.end(err)
	}()
	return s
}

func openEvents(w *world, c *http.Client, url string, headers ...string) *stream {
	return openResponse(w, c, "GET", url+"/events", nil, len("data: tick\n\n"), headers)
}

func openDownload(w *world, c *http.Client, url string, headers ...string) *stream {
	return openResponse(w, c, "GET", url+"/download", nil, 10, headers)
}

// openStuckDownload reads one byte, and the rest only after the proxy has ended the request.
func openStuckDownload(w *world, c *http.Client, url string, headers ...string) *stream {
	w.t.Helper()
	s := &stream{done: make(chan struct{})}
	r, err := http.NewRequestWithContext(w.ctx, "GET", url+"/stuck", nil)
	w.must(err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	res, err := c.Do(r)
	w.must(err)
	_, err = io.ReadFull(res.Body, make([]byte, 1))
	w.must(err)
	go func() {
		for w.number("sallyport_live_requests") != 0 {
			time.Sleep(time.Millisecond)
		}
		_, err := io.Copy(io.Discard, res.Body)
		res.Body.Close()
		s.end(err)
	}()
	return s
}

// trickle is a request body that does not end by itself.
type trickle struct {
	once    sync.Once
	begun   chan struct{}
	release chan struct{}
	closing sync.Once
}

func newTrickle() *trickle { return &trickle{begun: make(chan struct{}), release: make(chan struct{})} }

func (b *trickle) Read(p []byte) (n int, err error) {
	b.once.Do(func() { n = copy(p, "0123456789") })
	if n > 0 {
		return n, nil
	}
	select {
	case <-b.begun:
	default:
		close(b.begun)
	}
	<-b.release
	return 0, errors.New("the client gave up")
}

// Close ends a read that is under way. A client's transport needs that before it returns a response.
func (b *trickle) Close() error {
	b.closing.Do(func() { close(b.release) })
	return nil
}

func openBody(w *world, c *http.Client, url string, length int64, headers []string) *stream {
	w.t.Helper()
	s, b := &stream{done: make(chan struct{})}, newTrickle()
	w.t.Cleanup(func() { b.Close() })
	r, err := http.NewRequestWithContext(w.ctx, "POST", url+"/upload", b)
	w.must(err)
	r.ContentLength = length
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	go func() {
		res, err := c.Do(r)
		if err == nil {
			err = fmt.Errorf("status %d", res.StatusCode)
			res.Body.Close()
		}
		s.end(err)
	}()
	await(w.t, "the upload begins", b.begun)
	return s
}

func openUpload(w *world, c *http.Client, url string, headers ...string) *stream {
	return openBody(w, c, url, -1, headers)
}

func openSizedUpload(w *world, c *http.Client, url string, headers ...string) *stream {
	return openBody(w, c, url, 1<<30, headers)
}

func openPending(w *world, c *http.Client, url string, headers ...string) *stream {
	w.t.Helper()
	s := &stream{done: make(chan struct{})}
	go func() {
		r, err := http.NewRequestWithContext(w.ctx, "GET", url+"/pending", nil)
		if err != nil {
			s.end(err)
			return
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Add(headers[i], headers[i+1])
		}
		res, err := c.Do(r)
		if err == nil {
			err = fmt.Errorf("status %d", res.StatusCode)
			res.Body.Close()
		}
		s.end(err)
	}()
	return s
}

// change is an event that takes the access of a user away.
type change struct {
	name   string
	do     func(w *world, name string, one session.Session)
	reason Reason
}

var changes = []change{
	{"deactivated", func(w *world, name string, _ session.Session) { w.setActive(name, false) }, inactiveUser},
	{"deleted", func(w *world, name string, _ session.Session) {
		id := w.user(name).ID
		w.update(func(tx *directory.Tx) error { return tx.DeleteUser(id) })
	}, unknownUser},
	{"left_group", func(w *world, name string, _ session.Session) { w.leave(name, staff) }, noRule},
	{"signed_out", func(w *world, _ string, one session.Session) {
		w.must(w.sessions.End(w.ctx, one.ID, session.ReasonLogout))
	}, sessionEnded},
	{"lost_rule", func(w *world, _ string, _ session.Session) {
		s := w.settings
		s.Policies = slices.Clone(s.Policies)
		s.Policies[0] = policy.Named{Name: "staff", Rules: []policy.Rule{{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: admins}}}}}}
		w.must(w.proxy.Load(s))
	}, noRule},
	{"lost_route", func(w *world, _ string, _ session.Session) {
		s := w.settings
		s.Routes = s.Routes[1:]
		w.must(w.proxy.Load(s))
	}, noRoute},
}

// TestCut checks that every change ends every kind of live request.
func TestCut(t *testing.T) {
	for _, k := range kinds {
		for protocol, h2 := range map[string]bool{"": false, "_http2": true} {
			if h2 && k.h1 {
				continue
			}
			t.Run(k.name+protocol, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, nil)
				for i, change := range changes {
					t.Run(change.name, func(t *testing.T) { testCut(t, w, k, change, fmt.Sprintf("person%d", i), w.client(h2)) })
					w.must(w.proxy.Load(w.settings))
				}
				w.eventually("every cut is recorded", func() bool { return len(w.events(audit.KindCut)) == len(changes) })
				for i, line := range w.events(audit.KindCut) {
					if !strings.Contains(line, `"reason":"`+string(changes[i].reason)+`"`) || !strings.Contains(line, `"route":"app"`) {
						t.Errorf("recorded for %s: %s", changes[i].name, line)
					}
				}
			})
		}
	}
}

func testCut(t *testing.T, w *world, k kind, change change, name string, c *http.Client) {
	reached, gone := w.behindStreams()
	w.hire(name, staff)
	one, cookie := w.signIn(name, appHost)
	had := w.number("sallyport_cuts_total", "route", "app", "reason", string(change.reason))
	s := k.open(w, c, "https://"+appHost, "Cookie", cookie)
	await(t, "the upstream is reached", reached)
	if n := w.number("sallyport_live_requests", "route", "app"); n != 1 {
		t.Fatalf("%v requests are live", n)
	}

	change.do(w, name, one)
	await(t, "the client sees the end", s.done)
	if s.err == nil {
		t.Error("the response looks complete to the client")
	}
	await(t, "the upstream lets go", gone)
	w.eventually("nothing is live", func() bool { return w.number("sallyport_live_requests") == 0 })
	w.eventually("the cut is counted", func() bool {
		return w.number("sallyport_cuts_total", "route", "app", "reason", string(change.reason)) == had+1
	})
	if res, _ := w.get(c, "https://"+appHost+"/pending", "Cookie", cookie, "Accept", "application/json"); res.StatusCode < 400 {
		t.Errorf("the next request: %d", res.StatusCode)
	}
}

// TestCut_DeniesUpload checks that an upload that is cut gets a denial, and is not read to its end.
func TestCut_DeniesUpload(t *testing.T) {
	for _, k := range []kind{kinds[5], kinds[6]} {
		w := newWorld(t, nil)
		reached, _ := w.behindStreams()
		_, cookie := w.signIn("alice", appHost)
		s := k.open(w, w.client(false), "https://"+appHost, "Cookie", cookie)
		await(t, "the upstream is reached", reached)
		w.setActive("alice", false)
		await(t, "the client sees the end", s.done)
		if s.err.Error() != "status 403" {
			t.Errorf("%s: %v", k.name, s.err)
		}
	}
}

func TestCut_TokenExpires(t *testing.T) {
	w := newWorld(t, nil)
	w.behindStreams()
	text := w.token("alice", func(c entratest.Claims) { c["exp"] = time.Now().Add(2 * time.Second).Unix() })
	s := openEvents(w, w.client(true), "https://"+appHost, "Authorization", "Bearer "+text)
	await(t, "the client sees the end", s.done)
	w.eventually("the cut is counted", func() bool {
		return w.number("sallyport_cuts_total", "route", "app", "reason", string(tokenRefused)) == 1
	})
}

// TestCut_SparesOthers checks that a change cuts only the requests that it concerns.
func TestCut_SparesOthers(t *testing.T) {
	w := newWorld(t, nil)
	w.hire("carol", staff)
	w.behindIs(echo)
	_, cookie := w.signIn("carol", appHost)
	conn := dial(w, w.client(false), "https://"+appHost+"/socket", []string{"Cookie", cookie})
	say := func() {
		t.Helper()
		w.must(conn.Write(w.ctx, websocket.MessageText, []byte("still here")))
		if _, data, err := conn.Read(w.ctx); err != nil || string(data) != "still here" {
			t.Fatalf("%q, %v", data, err)
		}
	}
	say()
	w.setActive("alice", false)
	w.leave("carol", admins) // she never was in it
	w.must(w.proxy.Load(w.settings))
	say()
	if n := w.number("sallyport_cuts_total"); n != 0 {
		t.Errorf("%v cuts", n)
	}
}

// TestReactivation_RevivesNoSession checks that a reactivated user has access only after a new login.
func TestReactivation_RevivesNoSession(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client(true)
	_, old := w.signIn("alice", appHost)
	w.setActive("alice", false)
	if res, _ := w.get(c, "https://"+appHost+"/", "Cookie", old); res.StatusCode != 403 && res.StatusCode != 401 {
		t.Errorf("while inactive: %d", res.StatusCode)
	}
	w.setActive("alice", true)
	if res, _ := w.get(c, "https://"+appHost+"/", "Cookie", old, "Accept", "application/json"); res.StatusCode != 401 {
		t.Errorf("with the old cookie: %d", res.StatusCode)
	}
	_, again := w.signIn("alice", appHost)
	if res, _ := w.get(c, "https://"+appHost+"/", "Cookie", again); res.StatusCode != 200 {
		t.Errorf("after a new login: %d", res.StatusCode)
	}
}

// TestReactivation_RevivesNoToken checks that a token from before a deactivation or suspension stays invalid, and that a
// new one is valid.
func TestReactivation_RevivesNoToken(t *testing.T) {
	for name, out := range map[string]func(w *world){
		"deactivated": func(w *world) { w.setActive("alice", false); w.setActive("alice", true) },
		"suspended": func(w *world) {
			id := w.user("alice").ID
			w.update(func(tx *directory.Tx) error { return tx.Suspend(id, "a test") })
			w.update(func(tx *directory.Tx) error { return tx.Unsuspend(id) })
		},
	} {
		w := newWorld(t, nil)
		asks := func(token string) int {
			res, _ := w.get(w.client(true), "https://"+apiHost+"/v1/x", "Authorization", "Bearer "+token)
			return res.StatusCode
		}
		old := w.token("alice", func(c entratest.Claims) { c["iat"] = time.Now().Add(-time.Minute).Unix() })
		before := asks(old)
		out(w)
		if after, anew := asks(old), asks(w.token("alice", nil)); before != 200 || after != 401 || anew != 200 {
			t.Errorf("%s: before %d, after %d, with a new one %d", name, before, after, anew)
		}
	}
}

// TestCut_MissesNoRequest checks that no request survives a revocation that happens while it enters.
func TestCut_MissesNoRequest(t *testing.T) {
	w := newWorld(t, nil)
	w.behindIs(func(rw http.ResponseWriter, r *http.Request) {
		http.NewResponseController(rw).Flush()
		<-r.Context().Done()
	})
	const people, requests, rounds = 4, 8, 6
	for round := range rounds {
		var entering sync.WaitGroup
		ended := make(chan struct{}, people*requests)
		begin := make(chan struct{})
		c := w.client(round%2 == 0)
		for person := range people {
			name := fmt.Sprintf("round%dperson%d", round, person)
			w.hire(name, staff)
			_, cookie := w.signIn(name, appHost)
			for range requests {
				entering.Go(func() {
					<-begin
					r, _ := http.NewRequestWithContext(w.ctx, "GET", "https://"+appHost+"/", nil)
					r.Header.Set("Cookie", cookie)
					res, err := c.Do(r)
					if err == nil {
						_, _ = io.Copy(io.Discard, res.Body)
						res.Body.Close()
					}
					ended <- struct{}{}
				})
			}
			entering.Go(func() {
				<-begin
				if person%2 == 0 {
					w.setActive(name, false)
				} else {
					w.leave(name, staff)
				}
			})
		}
		close(begin)
		for range people * requests {
			select {
			case <-ended:
			case <-time.After(patience):
				t.Fatalf("round %d: %v requests are live though all users were revoked", round, w.number("sallyport_live_requests"))
			}
		}
		entering.Wait()
	}
	w.eventually("nothing is live", func() bool { return w.number("sallyport_live_requests") == 0 })
}

// TestCut_MeasuresEnforcement checks that the metric measures from the receipt of the push to the last cut.
func TestCut_MeasuresEnforcement(t *testing.T) {
	w := newWorld(t, nil)
	w.behindStreams()
	_, cookie := w.signIn("alice", appHost)
	s := openEvents(w, w.client(true), "https://"+appHost, "Cookie", cookie)
	id := w.user("alice").ID
	received := time.Now()
	w.update(func(tx *directory.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		u.Active = false
		if err := tx.PutUser(&u); err != nil {
			return err
		}
		return tx.Record(directory.Record{Received: received, Event: []byte(`{}`)})
	})
	await(t, "the client sees the end", s.done)
	w.eventually("it is measured", func() bool { return w.number("sallyport_offboarding_enforcement_seconds") == 1 })
}

// TestCut_ClosesConnection checks that a cut closes the client's connection even if it is hijacked and idle both ways.
func TestCut_ClosesConnection(t *testing.T) {
	w := newWorld(t, nil)
	w.behindStreams()
	_, cookie := w.signIn("alice", appHost)
	conn := w.raw("GET /socket HTTP/1.1\r\nHost: " + appHost + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: " + cookie + "\r\n\r\n")
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, nil)
	w.must(err)
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%d", res.StatusCode)
	}
	w.leave("alice", staff)
	_, err = io.Copy(io.Discard, br)
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() {
		t.Error("still open")
	}
}
