package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// large returns n if LARGE is set, else few.
func large(n, few int) int {
	if os.Getenv("LARGE") == "" {
		return few
	}
	return n
}

// newLoadStage returns a stage whose clients may open all connections from one address.
func newLoadStage(b testing.TB) *stage {
	b.Helper()
	w := newWorld(b)
	w.rewrite("policies:\n", "limits: {connections_per_address: 30000}\npolicies:\n")
	return w.settle(w.start("--init"))
}

// status returns a field of /proc/PID/status of the server, in KiB.
func (r *running) status(b testing.TB, field string) float64 {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	if err != nil {
		b.Skip(err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return n
		}
	}
	return 0
}

// BenchmarkIdleSockets opens WebSockets and leaves them idle. It reports the memory of the server for each, and how long
// after the response to the push that deactivates their user the last of them ends, and the 99th of a hundred.
func BenchmarkIdleSockets(b *testing.B) {
	n := large(9500, 500)
	s := newLoadStage(b)
	before := s.server.status(b, "VmRSS")
	ended := make(chan time.Time, n)
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	var all sync.WaitGroup
	gate := make(chan struct{}, 32)
	for range n {
		all.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			s.holdSocket(ctx, b, ended)
		})
	}
	all.Wait()
	b.ReportMetric((s.server.status(b, "VmRSS")-before)/float64(n), "KiB/socket")
	s.push.setActive(s.alice, "False")
	pushed := time.Now()
	took := make([]time.Duration, n)
	for i := range took {
		took[i] = (<-ended).Sub(pushed)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[n*99/100].Microseconds())/1000, "cut-p99-ms")
	b.ReportMetric(float64(took[n-1].Microseconds())/1000, "cut-last-ms")
	b.ReportMetric(float64(n), "sockets")
}

// BenchmarkBareSockets measures the kernel alone, for comparison: it half-closes as many local connections, and reports
// when the 99th of a hundred clients has read the end.
func BenchmarkBareSockets(b *testing.B) {
	n := large(9500, 500)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	ended, here := make(chan time.Time, n), make([]net.Conn, n)
	for i := range here {
		there, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer there.Close()
		if here[i], err = l.Accept(); err != nil {
			b.Fatal(err)
		}
		defer here[i].Close()
		go func() {
			_, _ = there.Read(make([]byte, 1))
			ended <- time.Now()
		}()
	}
	start, took := time.Now(), make([]time.Duration, n)
	for _, conn := range here {
		_ = conn.(*net.TCPConn).CloseWrite()
	}
	for i := range took {
		took[i] = (<-ended).Sub(start)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[n*99/100].Microseconds())/1000, "cut-p99-ms")
}

// holdSocket opens a WebSocket and reports when it ends: when any byte arrives on its connection. Nothing is decrypted, so
// that the server is measured and not its clients, which share its cores.
func (s *stage) holdSocket(ctx context.Context, b testing.TB, ended chan<- time.Time) {
	conn, err := tls.Dial("tcp", s.server.addrs["public"], &tls.Config{RootCAs: s.ca.pool, ServerName: appHost, NextProtos: []string{"http/1.1"}})
	if err == nil {
		err = s.openQuiet(conn)
	}
	if err != nil {
		b.Error(err)
		ended <- time.Now()
		return
	}
	go func() {
		_, _ = conn.NetConn().Read(make([]byte, 1))
		ended <- time.Now()
		<-ctx.Done() // closing now would delay the others
		_ = conn.NetConn().Close()
	}()
}

func (s *stage) openQuiet(conn *tls.Conn) error {
	r, err := http.NewRequest(http.MethodGet, "https://"+appHost+"/quiet", nil)
	if err != nil {
		return err
	}
	r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-WebSocket-Version": {"13"}, "Sec-WebSocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	for _, c := range s.browser.cookies(appHost) {
		r.AddCookie(c)
	}
	if err := r.Write(conn); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("the response to the WebSocket handshake is %s", resp.Status)
	}
	return err
}

// BenchmarkSlowClients opens many connections that send one byte of a header per second, and compares the latency of a
// well-behaved client with its latency before.
func BenchmarkSlowClients(b *testing.B) {
	n := large(5000, 500)
	s := newLoadStage(b)
	alone := s.p99(b)
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	var all sync.WaitGroup
	for range n {
		all.Go(func() { s.crawl(ctx) })
	}
	beside := s.p99(b)
	stop()
	all.Wait()
	b.ReportMetric(float64(alone.Microseconds())/1000, "alone-p99-ms")
	b.ReportMetric(float64(beside.Microseconds())/1000, "beside-p99-ms")
	b.ReportMetric(float64(beside)/float64(alone), "ratio")
	b.ReportMetric(float64(n), "slow-clients")
}

// p99 returns the 99th percentile of the latency of a well-behaved client's requests, sent one after the other.
func (s *stage) p99(b testing.TB) time.Duration {
	const requests = 2000
	took := make([]time.Duration, requests)
	for i := range took {
		start := time.Now()
		if status, err := s.requestOne(); err != nil || status != http.StatusOK {
			b.Fatalf("a valid request gives %d, %v", status, err)
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	return took[requests*99/100]
}

// crawl sends a header that never ends, on one connection after the other.
func (s *stage) crawl(ctx context.Context) {
	for ctx.Err() == nil {
		conn, err := (&tls.Dialer{NetDialer: &net.Dialer{}, Config: &tls.Config{InsecureSkipVerify: true, ServerName: appHost}}).DialContext(ctx, "tcp", s.server.addrs["public"])
		if err != nil {
			continue
		}
		_, err = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nX-Slow: ", appHost)
		for err == nil && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
				_, err = conn.Write([]byte("x"))
			}
		}
		_ = conn.Close()
	}
}

// BenchmarkStrangers begins logins and sends invented tokens, many of each. It reports how much more memory the server
// uses afterwards.
func BenchmarkStrangers(b *testing.B) {
	n := large(500_000, 5000)
	s := newLoadStage(b)
	login := s.browser.get("https://"+loginHost+"/.sallyport/login?return_to=/", "")
	_ = login.Body.Close()
	before := s.server.status(b, "VmRSS")
	var all sync.WaitGroup
	for worker := range 16 {
		all.Go(func() {
			v := s.newBrowser(s.server)
			for i := worker; i < n; i += 16 {
				resp := v.get("https://"+loginHost+"/.sallyport/login?return_to=/", "")
				_ = resp.Body.Close()
				resp = v.get("https://"+apiHost+"/", fmt.Sprintf("eyJhbGciOiJSUzI1NiIsImtpZCI6%s.e30.AAAA", directoryID(i)))
				_ = resp.Body.Close()
			}
		})
	}
	all.Wait()
	b.ReportMetric((s.server.status(b, "VmRSS")-before)/1024, "MiB-more")
	b.ReportMetric(float64(n), "each")
}

func directoryID(i int) string { return fmt.Sprintf("%022d", i) }
