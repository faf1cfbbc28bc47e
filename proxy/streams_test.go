package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// stream is one live request. done is closed when the client sees its end; err is then how it ended.
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
	case <-time.After(waitLimit):
		t.Fatalf("not after %s: %s", waitLimit, what)
	}
}

// streamKind is a kind of live request. open starts one and returns once it is live.
type streamKind struct {
	name string
	open func(w *world, c *http.Client, url string, headers ...string) *stream
	h1   bool // not over HTTP/2
}

var streamKinds = []streamKind{
	{name: "websocket", open: openWebSocket, h1: true},
	{name: "websocket_unread", open: openUnreadWebSocket, h1: true},
	{name: "events", open: openEvents},
	{name: "download", open: openDownload},
	{name: "download_unread", open: openUnreadDownload},
	{name: "upload", open: openUpload},
	{name: "upload_with_length", open: openUploadWithLength},
	{name: "pending", open: openPending},
}

// serveStreams makes the upstream serve one stream of any kind, which goes on until the proxy ends it. The channels are
// closed when the request has arrived and when it has ended.
func (w *world) serveStreams() (reached, gone chan struct{}) {
	reached, gone = make(chan struct{}), make(chan struct{})
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
		close(reached)
		defer close(gone)
		switch r.URL.Path {
		case "/socket":
			echo(rw, r)
		case "/unread-socket":
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
		case "/unread":
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

// echo accepts a WebSocket and returns every message.
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

// flood accepts a WebSocket and writes to it until a write fails.
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

// dial opens a WebSocket with headers, in pairs of name and value.
func dial(w *world, c *http.Client, url string, headers []string) *websocket.Conn {
	w.t.Helper()
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Add(headers[i], headers[i+1])
	}
	ctx, stop := context.WithTimeout(w.ctx, waitLimit)
	defer stop()
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: c, HTTPHeader: h})
	w.must(err)
	w.t.Cleanup(func() { conn.CloseNow() })
	return conn
}

func openWebSocket(w *world, c *http.Client, url string, headers ...string) *stream {
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

// openUnreadWebSocket opens a WebSocket whose client reads nothing. All buffers fill up, so only closing the connection
// can end it.
func openUnreadWebSocket(w *world, c *http.Client, url string, headers ...string) *stream {
	w.t.Helper()
	h := "GET /unread-socket HTTP/1.1\r\nHost: " + strings.TrimPrefix(url, "https://") + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for i := 0; i < len(headers); i += 2 {
		h += headers[i] + ": " + headers[i+1] + "\r\n"
	}
	conn := w.sendRaw(h + "\r\n")
	res, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, 1)), nil)
	if err == nil {
		w.t.Fatalf("a response of one byte: %v", res)
	}
	s := &stream{done: make(chan struct{})}
	s.end(errors.New("the client does not read")) // the client cannot see the end, so the test checks proxy and upstream only
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

// openUnreadDownload starts a download and reads one byte of it. It reads the rest only after the proxy has ended the
// request.
func openUnreadDownload(w *world, c *http.Client, url string, headers ...string) *stream {
	w.t.Helper()
	s := &stream{done: make(chan struct{})}
	r, err := http.NewRequestWithContext(w.ctx, "GET", url+"/unread", nil)
	w.must(err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	res, err := c.Do(r)
	w.must(err)
	_, err = io.ReadFull(res.Body, make([]byte, 1))
	w.must(err)
	go func() {
		for w.metric("sallyport_live_requests") != 0 {
			time.Sleep(time.Millisecond)
		}
		_, err := io.Copy(io.Discard, res.Body)
		res.Body.Close()
		s.end(err)
	}()
	return s
}

// blockingBody is a request body of a few bytes, whose next Read blocks until Close.
type blockingBody struct {
	once    sync.Once
	begun   chan struct{} // closed when a Read blocks
	release chan struct{} // closed by Close
	closing sync.Once
}

func newBlockingBody() *blockingBody {
	return &blockingBody{begun: make(chan struct{}), release: make(chan struct{})}
}

func (b *blockingBody) Read(p []byte) (n int, err error) {
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
	return 0, errors.New("the client closed the body")
}

// Close ends a Read that blocks. The client's transport waits for that before it returns a response.
func (b *blockingBody) Close() error {
	b.closing.Do(func() { close(b.release) })
	return nil
}

func openUploadOfLength(w *world, c *http.Client, url string, length int64, headers []string) *stream {
	w.t.Helper()
	s, b := &stream{done: make(chan struct{})}, newBlockingBody()
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
	return openUploadOfLength(w, c, url, -1, headers)
}

func openUploadWithLength(w *world, c *http.Client, url string, headers ...string) *stream {
	return openUploadOfLength(w, c, url, 1<<30, headers)
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
