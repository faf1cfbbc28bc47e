package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// BenchmarkSoak attacks a server in many ways at once, for 10 minutes with LARGE set and 10 seconds without, beside a
// well-behaved client. Then it compares memory, descriptors and goroutines with those before.
func BenchmarkSoak(b *testing.B) {
	duration := 10 * time.Second
	if os.Getenv("LARGE") != "" {
		duration = 10 * time.Minute
	}
	s := newLoadStage(b)
	s.attack(b, 2*time.Second) // fills the bounded caches, so that they do not count as growth
	before := s.measure(b)
	n := s.attack(b, duration)
	after := s.measure(b)
	b.ReportMetric(float64(n.attacks), "attacks")
	b.ReportMetric(float64(n.good), "good-requests")
	b.ReportMetric(float64(n.bad), "good-requests-failed")
	b.ReportMetric(after.memory-before.memory, "MiB-more")
	b.ReportMetric(after.descriptors-before.descriptors, "descriptors-more")
	b.ReportMetric(after.goroutines-before.goroutines, "goroutines-more")
	if status, err := s.requestOne(); err != nil || status != http.StatusOK {
		b.Errorf("afterwards a valid request gives %d, %v", status, err)
	}
}

type tally struct{ attacks, good, bad int }

// attack runs all attacks at once for duration.
func (s *stage) attack(b testing.TB, duration time.Duration) (n tally) {
	ctx, stop := context.WithTimeout(b.Context(), duration)
	defer stop()
	var mu sync.Mutex
	var all sync.WaitGroup
	repeat := func(workers int, f func(context.Context, int)) {
		for w := range workers {
			all.Go(func() {
				for i := w; ctx.Err() == nil; i += workers {
					f(ctx, i)
					mu.Lock()
					n.attacks++
					mu.Unlock()
				}
			})
		}
	}
	stranger, pusher := s.newBrowser(s.server), *s.push
	pusher.token = "wrong"
	repeat(2, func(_ context.Context, i int) {
		getAndDiscard(stranger.client, "https://"+loginHost+"/.sallyport/login?return_to=/", "")
	})
	repeat(2, func(_ context.Context, i int) {
		getAndDiscard(stranger.client, "https://"+apiHost+"/", fmt.Sprintf("eyJhbGciOiJSUzI1NiIsImtpZCI6%022d.e30.AAAA", i))
	})
	repeat(1, func(context.Context, int) { _, _, _ = pusher.try("GET", "/Users", nil) })
	repeat(2, func(ctx context.Context, i int) { s.rawBytes(ctx, malformed[i%len(malformed)]) })
	repeat(2, s.resetRapidly)
	repeat(1, s.continueWithoutEnd)
	for range 200 {
		all.Go(func() { s.crawl(ctx) })
	}
	all.Go(func() {
		for ctx.Err() == nil {
			if status, err := s.requestOne(); err != nil || status != http.StatusOK {
				n.bad++
			}
			n.good++
			time.Sleep(5 * time.Millisecond)
		}
	})
	all.Wait()
	return n
}

// getAndDiscard sends a GET request and discards the response.
func getAndDiscard(c *http.Client, target, bearer string) {
	req, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		return
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	once := *c
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if resp, err := once.Do(req); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

// malformed are requests that are malformed, ambiguous or too large.
var malformed = []string{
	"POST / HTTP/1.1\r\nHost: " + appHost + "\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
	"GET /%2e%2e/%00 HTTP/1.1\r\nHost: " + appHost + "\r\n\r\n",
	"CONNECT " + appHost + ":443 HTTP/1.1\r\nHost: " + appHost + "\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: " + appHost + "\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: " + appHost + "\r\n" + strings.Repeat("Cookie: a=b\r\n", 3000) + "\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + strings.Repeat("\xff", 1000),
	strings.Repeat("\x00", 1000),
}

// dialTLS connects to the public listener over TLS.
func (s *stage) dialTLS(ctx context.Context, protocol string) (net.Conn, error) {
	d := tls.Dialer{NetDialer: &net.Dialer{}, Config: &tls.Config{InsecureSkipVerify: true, ServerName: appHost, NextProtos: []string{protocol}}}
	conn, err := d.DialContext(ctx, "tcp", s.server.addrs["public"])
	if err == nil {
		_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
	}
	return conn, err
}

func (s *stage) rawBytes(ctx context.Context, text string) {
	conn, err := s.dialTLS(ctx, "http/1.1")
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, text)
	_, _ = io.Copy(io.Discard, io.LimitReader(bufio.NewReader(conn), 64<<10))
}

// framer opens an HTTP/2 connection.
func (s *stage) framer(ctx context.Context) (*http2.Framer, net.Conn, error) {
	conn, err := s.dialTLS(ctx, "h2")
	if err != nil {
		return nil, nil, err
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, conn, err
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	f := http2.NewFramer(conn, nil)
	return f, conn, f.WriteSettings()
}

// resetRapidly opens streams and resets them at once (CVE-2023-39325).
func (s *stage) resetRapidly(ctx context.Context, _ int) {
	f, conn, err := s.framer(ctx)
	if conn != nil {
		defer conn.Close()
	}
	block := headerBlock()
	for id := uint32(1); err == nil && id < 4000; id += 2 {
		err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: true, EndHeaders: true})
		if err == nil {
			err = f.WriteRSTStream(id, http2.ErrCodeCancel)
		}
	}
}

// continueWithoutEnd sends headers that never end (CVE-2023-45288).
func (s *stage) continueWithoutEnd(ctx context.Context, _ int) {
	f, conn, err := s.framer(ctx)
	if conn != nil {
		defer conn.Close()
	}
	if err == nil {
		err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headerBlock()})
	}
	for i := 0; err == nil && i < 5000; i++ {
		err = f.WriteContinuation(1, false, []byte("\x00\x01x\x01y"))
	}
}

func headerBlock() []byte {
	var block strings.Builder
	e := hpack.NewEncoder(&block)
	for _, h := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", appHost}, {":path", "/"}} {
		_ = e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	return []byte(block.String())
}

// usage is what a server uses.
type usage struct{ memory, descriptors, goroutines float64 } // memory in MiB

// measure waits until connections have ended, which takes up to two minutes when they are idle, and returns the usage.
func (s *stage) measure(b testing.TB) usage {
	b.Helper()
	s.browser.client.CloseIdleConnections()
	var u usage
	for range 150 {
		metrics, err := installation{run: &runFile{Ops: s.server.addrs["ops"]}}.readMetrics(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		now := usage{s.server.status(b, "VmRSS") / 1024, number(metrics, "process_open_fds"), number(metrics, "go_goroutines")}
		if u.goroutines != 0 && now.goroutines >= u.goroutines && now.descriptors >= u.descriptors {
			return now
		}
		u = now
		time.Sleep(time.Second)
	}
	return u
}

// number returns the value of a metric without labels, or 0.
func number(metrics, name string) float64 {
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(metrics)
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseFloat(m[1], 64)
	return n
}
