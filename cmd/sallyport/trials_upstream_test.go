package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// brokenApplication is an upstream of raw TCP with a fault.
type brokenApplication struct {
	listener net.Listener
	mu       sync.Mutex // guards the fields below
	fault    upstreamFault
	seen     map[string]int // how often a request arrived, by its id
}

// upstreamFault is what an upstream does instead of responding. It gets the request and its connection, which is closed
// afterwards. A fault that is whole ends with a complete response.
type upstreamFault struct {
	name  string
	whole bool
	do    func(conn net.Conn, r *http.Request)
}

// writes returns a fault that reads all of the request and writes text.
func writes(text string) func(net.Conn, *http.Request) {
	return func(conn net.Conn, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(conn, text)
	}
}

// reset makes closing conn send a RST.
func reset(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) }

const okHead = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"

// hangsInBody is a fault that the proxy has to bear for as long as the client does: it may be a stream.
const hangsInBody = "hangs in the body"

var upstreamFaults = []upstreamFault{
	{"closes", false, func(net.Conn, *http.Request) {}},
	{"resets", false, func(conn net.Conn, _ *http.Request) { reset(conn) }},
	{"resets after the body", false, func(conn net.Conn, r *http.Request) { writes("")(conn, r); reset(conn) }},
	{"half a status line", false, writes("HTTP/1.1 2")},
	{"half a header", false, writes(okHead + "X-Half: ")},
	{"no HTTP", false, writes("220 mail.example.com ESMTP\r\n")},
	{"zeros", false, writes(strings.Repeat("\x00", 10_000))},
	{"TLS", false, writes("\x15\x03\x01\x00\x02\x02\x28")},
	{"status 99", false, writes("HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n")},
	{"status 1000", false, writes("HTTP/1.1 1000 Odd\r\nContent-Length: 0\r\n\r\n")},
	{"header too large", false, writes(okHead + "X: " + strings.Repeat("x", 20<<20) + "\r\n\r\n")},
	{"headers without end", false, writes(okHead + strings.Repeat("X: y\r\n", 2_000_000))},
	{"two lengths", false, writes(okHead + "Content-Length: 3\r\nContent-Length: 5\r\n\r\nhello")},
	{"negative length", false, writes(okHead + "Content-Length: -5\r\n\r\nhello")},
	{"too short", false, writes(okHead + "Content-Length: 1000\r\n\r\nhello")},
	{"too short, resets", false, func(conn net.Conn, r *http.Request) {
		writes(okHead+"Content-Length: 1000\r\n\r\nhello")(conn, r)
		time.Sleep(20 * time.Millisecond) // so that the header arrives before the reset
		reset(conn)
	}},
	{"chunks without end", false, writes(okHead + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")},
	{"half a chunk", false, writes(okHead + "Transfer-Encoding: chunked\r\n\r\nff\r\nhello")},
	{"no chunk", false, writes(okHead + "Transfer-Encoding: chunked\r\n\r\nhello world\r\n")},
	{"many informational responses", false, writes(strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n", 100_000))},
	{"switches protocols", false, writes("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x05hello")},
	{"hangs", false, func(conn net.Conn, r *http.Request) { hang(conn) }},
	{"hangs in the header", false, func(conn net.Conn, r *http.Request) { writes(okHead)(conn, r); hang(conn) }},
	{hangsInBody, false, func(conn net.Conn, r *http.Request) {
		writes(okHead+"Content-Length: 1000\r\n\r\nhello")(conn, r)
		hang(conn)
	}},
	{"responds before the body", true, func(conn net.Conn, _ *http.Request) {
		_, _ = io.WriteString(conn, okHead+"Content-Length: 5\r\n\r\nhello")
	}},
	{"until the connection closes", true, writes(okHead + "\r\nhello")},
	{"a byte at a time", true, func(conn net.Conn, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for _, b := range []byte(okHead + "Content-Length: 5\r\n\r\nhello") {
			_, _ = conn.Write([]byte{b})
		}
	}},
	{"more than it says", true, writes(okHead + "Content-Length: 5\r\n\r\nhello world")},
	{"two responses", true, writes(okHead + "Content-Length: 5\r\n\r\nhello" + okHead + "Content-Length: 4\r\n\r\nevil")},
}

// hang waits until the proxy gives up.
func hang(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func newBrokenApplication(t *testing.T) *brokenApplication {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &brokenApplication{listener: l, seen: map[string]int{}}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go a.serve(conn)
		}
	}()
	return a
}

func (a *brokenApplication) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	a.mu.Lock()
	a.seen[r.URL.Query().Get("id")]++
	fault := a.fault
	a.mu.Unlock()
	fault.do(conn, r)
}

// TestReliability_UpstreamFaults sends requests to an upstream that fails in every way there is. The client gets 502 or 504, or a response
// that it can tell to be cut off, and never one that looks whole and is not; a request with a body arrives at most once;
// the routes of other upstreams go on; and nothing is left behind.
func TestReliability_UpstreamFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := newBrokenApplication(t)
	w.rewrite("routes:\n", fmt.Sprintf("routes:\n  - {name: broken, host: %s, path: /broken, upstream: 'http://%s', policy: [members], timeout: 1s}\n", appHost, a.listener.Addr()))
	s := w.settle(w.start("--init"))
	before := s.measureNow(t)
	trials(t, len(upstreamFaults), func(c *trial) {
		fault := upstreamFaults[c.n%len(upstreamFaults)]
		a.mu.Lock()
		a.fault = fault
		a.mu.Unlock()
		w.t = c.T // so that each trial closes its connections
		var all sync.WaitGroup
		for n := range 4 {
			b := w.newBrowserWith(s.server, s.browser)
			b.client.Transport.(*http.Transport).ForceAttemptHTTP2 = n%2 == 0
			upload, id := n > 1, fmt.Sprintf("%d-%d", c.n, n)
			patience := time.Minute
			if fault.name == hangsInBody {
				patience = 500 * time.Millisecond
			}
			all.Go(func() {
				ctx, cancel := context.WithTimeout(c.Context(), patience)
				defer cancel()
				status, whole, err := sendToBroken(ctx, b.client, id, upload)
				a.mu.Lock()
				times := a.seen[id]
				a.mu.Unlock()
				switch {
				case fault.whole && !(whole && status == http.StatusOK) && !(fault.name == "responds before the body" && upload):
					c.Errorf("%s: gets %d, %v", fault.name, status, err)
				case !fault.whole && whole && status != http.StatusBadGateway && status != http.StatusGatewayTimeout:
					c.Errorf("%s: gets a response of %d that looks whole", fault.name, status)
				case times > 1 && upload, times > 2:
					c.Errorf("%s: a request arrives %d times", fault.name, times)
				}
			})
		}
		for range 3 {
			if status := s.browser.fetch("/"); status != http.StatusOK {
				c.Errorf("%s: another route gives %d", fault.name, status)
			}
		}
		all.Wait()
		c.count("as they should be")
	})
	w.t = t
	s.browser.client.CloseIdleConnections()
	after := s.measureNow(t)
	for deadline := time.Now().Add(time.Minute); after.goroutines > before.goroutines+20 || after.descriptors > before.descriptors+20; after = s.measureNow(t) {
		if time.Now().After(deadline) {
			t.Errorf("%v goroutines and %v descriptors became %v and %v", before.goroutines, before.descriptors, after.goroutines, after.descriptors)
			break
		}
		time.Sleep(time.Second)
	}
	s.server.verb("audit", "verify")
}

// measureNow returns how many goroutines and descriptors the server has.
func (s *stage) measureNow(t *testing.T) usage {
	metrics := scrape(t, s.server)
	return usage{0, number(metrics, "process_open_fds"), number(metrics, "go_goroutines")}
}

// sendToBroken sends a request, with a body if it is an upload, and reports whether its response looks whole.
func sendToBroken(ctx context.Context, client *http.Client, id string, upload bool) (status int, whole bool, err error) {
	method, body := http.MethodGet, io.Reader(nil)
	if upload {
		method, body = http.MethodPost, strings.NewReader(strings.Repeat("x", 100_000))
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+appHost+"/broken/?id="+id, body)
	if err != nil {
		return 0, false, err
	}
	req.Header.Set("Origin", "https://"+appHost)
	resp, err := client.Do(req)
	if err != nil {
		return 0, false, err
	}
	text, err := io.ReadAll(resp.Body)
	err = errors.Join(err, resp.Body.Close())
	if resp.StatusCode == http.StatusOK && err == nil && string(text) != "hello" {
		err = fmt.Errorf("the body is %.100q", text)
		return resp.StatusCode, true, err
	}
	return resp.StatusCode, err == nil, err
}
