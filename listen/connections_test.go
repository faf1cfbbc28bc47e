package listen

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// memoryListener accepts connections in memory, so that a server runs in a bubble of synctest.
type memoryListener struct {
	dialed chan net.Conn
	closed chan struct{}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.dialed:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error   { close(l.closed); return nil }
func (l *memoryListener) Addr() net.Addr { return new(net.TCPAddr) }

type memoryConn struct {
	net.Conn
	peer net.Addr
}

func (c memoryConn) RemoteAddr() net.Addr { return c.peer }

// limited is a server in memory with limited connections. Its handler reads the body of a request; the callers of
// /signed-in are signed in.
type limited struct {
	t           *testing.T
	listener    *memoryListener
	connections *Connections
}

func handleLimited(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/signed-in") {
		Authenticated(r.Context())
	}
	if strings.HasSuffix(r.URL.Path, "stream") {
		_ = http.NewResponseController(w).Flush()
	}
	if _, err := io.Copy(io.Discard, r.Body); err == nil {
		_, _ = io.WriteString(w, "done")
	}
}

// testLimited runs a test in a bubble.
func testLimited(t *testing.T, limits ConnectionLimits, test func(*limited)) {
	synctest.Test(t, func(t *testing.T) {
		s := &limited{t, &memoryListener{make(chan net.Conn), make(chan struct{})}, NewConnections(limits)}
		server, err := Open(Options{Name: "test", Listen: func() (net.Listener, error) { return s.listener, nil }, Log: slog.New(slog.DiscardHandler),
			Handler: http.HandlerFunc(handleLimited), Connections: s.connections})
		if err != nil {
			t.Fatal(err)
		}
		server.http.ReadHeaderTimeout = 24 * time.Hour
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- server.Run(ctx) }()
		test(s)
		server.Abort()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute) // net/http waits before it closes a connection
	})
}

// client is one connection to a limited server.
type client struct {
	net.Conn
	t        *testing.T
	received []byte
	ended    bool
}

// dial connects from an address and sends text. The server has handled it as far as it can when dial returns.
func (s *limited) dial(from, text string) *client {
	s.t.Helper()
	here, there := net.Pipe()
	c := &client{Conn: here, t: s.t}
	go func() { s.listener.dialed <- memoryConn{there, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))} }()
	go func() { c.received, _ = io.ReadAll(here); c.ended = true }()
	go func() { _, _ = io.WriteString(here, text) }()
	time.Sleep(time.Millisecond) // no two connections begin at the same time
	synctest.Wait()
	return c
}

func (c *client) send(text string) {
	go func() { _, _ = io.WriteString(c.Conn, text) }()
	synctest.Wait()
}

const (
	noRequest  = ""
	slowPost   = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
	signedPost = "POST /signed-in HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
	get        = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	signedGet  = "GET /signed-in HTTP/1.1\r\nHost: x\r\n\r\n"
)

// demandEnded demands which of the connections have ended.
func demandEnded(t *testing.T, want string, all ...*client) {
	t.Helper()
	got := ""
	for _, c := range all {
		if c.ended {
			got += "-"
		} else {
			got += "+"
		}
	}
	if got != want {
		t.Errorf("the connections (+ open, - ended) are %s, want %s", got, want)
	}
}

// TestConnections_ClosesSlowest: with as many connections as allowed, a new one takes the place of one that is idle, else
// of the slowest, whose request is anonymous.
func TestConnections_ClosesSlowest(t *testing.T) {
	testLimited(t, ConnectionLimits{Total: 5}, func(s *limited) {
		t := s.t
		signedIn := s.dial("192.0.2.1:1", signedPost)
		fast := s.dial("192.0.2.2:1", slowPost)
		slow := s.dial("192.0.2.3:1", slowPost)
		slower := s.dial("192.0.2.4:1", slowPost)
		idle := s.dial("192.0.2.5:1", get)
		for range 30 {
			time.Sleep(time.Second)
			fast.send(strings.Repeat("x", 2000))
			slow.send(strings.Repeat("x", 100))
			slower.send("x")
		}
		all := []*client{signedIn, fast, slow, slower, idle}
		demandEnded(t, "+++++", all...)
		for _, want := range []string{"++++-", "+++--", "++---"} {
			c := s.dial("192.0.2.9:1", get)
			demandEnded(t, want, all...)
			if !strings.HasSuffix(string(c.receivedNow()), "done") {
				t.Errorf("a new client receives %q", c.receivedNow())
			}
			c.send(slowPost)
		}
		for range 3 {
			time.Sleep(5 * time.Second)
			fast.send(strings.Repeat("x", 6000))
		}
		for range 20 {
			s.dial("192.0.2.9:1", noRequest)
		}
		demandEnded(t, "+----", all...)
		if n := testutil.ToFloat64(s.connections.closed.WithLabelValues(reasonIdle)); n != 1 {
			t.Errorf("%v idle connections are counted as closed", n)
		}
	})
}

// receivedNow closes the client's reading side and returns what arrived.
func (c *client) receivedNow() []byte {
	_ = c.SetReadDeadline(time.Now())
	synctest.Wait()
	return c.received
}

// TestConnections_SparesNewOnes: a new connection is not the next that is closed, before its first request either, as
// long as others have been slow for longer.
func TestConnections_SparesNewOnes(t *testing.T) {
	testLimited(t, ConnectionLimits{Total: 3}, func(s *limited) {
		first := s.dial("192.0.2.1:1", slowPost)
		fast := s.dial("192.0.2.2:1", slowPost)
		time.Sleep(20 * time.Second)
		fast.send(strings.Repeat("x", 30_000))
		opening := s.dial("192.0.2.3:1", noRequest)
		demandEnded(s.t, "+++", first, fast, opening)
		second := s.dial("192.0.2.4:1", noRequest)
		demandEnded(s.t, "-+++", first, fast, opening, second)
		third := s.dial("192.0.2.4:1", noRequest)
		demandEnded(s.t, "--+++", first, fast, opening, second, third)
		fourth := s.dial("192.0.2.4:1", noRequest)
		demandEnded(s.t, "---+++", first, fast, opening, second, third, fourth)
	})
}

// TestConnections_KeepsSignedIn: connections with a request of a caller who is signed in are never closed for a new one,
// which waits; one that is idle is, where all others have a request under way. A later request that is anonymous ends the
// privilege.
func TestConnections_KeepsAuthenticated(t *testing.T) {
	testLimited(t, ConnectionLimits{Total: 3}, func(s *limited) {
		first, second := s.dial("192.0.2.1:1", signedPost), s.dial("192.0.2.2:1", signedPost)
		idle := s.dial("192.0.2.3:1", signedGet)
		time.Sleep(time.Minute)
		third := s.dial("192.0.2.4:1", signedPost)
		demandEnded(s.t, "++-+", first, second, idle, third)
		waiting := s.dial("192.0.2.5:1", get)
		time.Sleep(time.Hour)
		demandEnded(s.t, "++-++", first, second, idle, third, waiting)
		_ = second.Close()
		time.Sleep(time.Second) // net/http waits before it closes a connection
		if !strings.HasSuffix(string(waiting.receivedNow()), "done") {
			s.t.Errorf("the connection that waited receives %q", waiting.received)
		}
		_ = waiting.Close()
		anonymous := s.dial("192.0.2.6:1", signedGet+slowPost)
		s.dial("192.0.2.7:1", get)
		demandEnded(s.t, "+-+", first, anonymous, third)
	})
}

// TestConnections_WaitingEndsWithListener: a connection that waits for a place does not keep the server from stopping.
func TestConnections_WaitingEndsWithListener(t *testing.T) {
	testLimited(t, ConnectionLimits{Total: 1}, func(s *limited) {
		s.dial("192.0.2.1:1", signedPost)
		s.dial("192.0.2.2:1", get)
	})
}

// TestConnections_LimitsEachAddress: an address, or a /64 of IPv6, that has as many connections as it may gets a place
// for a new one from its own alone; where none of those may be closed, the new one is.
func TestConnections_LimitsEachAddress(t *testing.T) {
	exempt := netip.MustParseAddr("192.0.2.99")
	limits := ConnectionLimits{Total: 100, PerAddress: 2, Exempt: func(a netip.Addr) bool { return a == exempt }}
	for name, c := range map[string]struct {
		from  string // with %d for the number of the connection
		bound bool
	}{
		"one address":        {"192.0.2.1:%d", true},
		"one address mapped": {"[::ffff:192.0.2.1]:%d", true},
		"one /64":            {"[2001:db8::%x]:1", true},
		"several addresses":  {"192.0.2.%d:1", false},
		"several /64":        {"[2001:db8:0:%x::1]:1", false},
		"exempt":             {"192.0.2.99:%d", false},
	} {
		t.Run(name, func(t *testing.T) {
			testLimited(t, limits, func(s *limited) {
				from := func(i int) string { return fmt.Sprintf(c.from, i) }
				other := s.dial("198.51.100.1:1", slowPost)
				first, second, third := s.dial(from(1), slowPost), s.dial(from(2), slowPost), s.dial(from(3), signedPost)
				if !c.bound {
					demandEnded(s.t, "++++", other, first, second, third)
					return
				}
				demandEnded(s.t, "+-++", other, first, second, third)
				fourth := s.dial(from(4), signedPost)
				demandEnded(s.t, "+-++", other, second, third, fourth)
				fifth := s.dial(from(5), get)
				demandEnded(s.t, "+++-", other, third, fourth, fifth)
				if n := testutil.ToFloat64(s.connections.closed.WithLabelValues(reasonAddress)); n != 1 {
					s.t.Errorf("%v connections are counted as rejected", n)
				}
				_ = third.Close()
				time.Sleep(time.Second) // net/http waits before it closes a connection
				sixth := s.dial(from(6), get)
				demandEnded(s.t, "+++", other, fourth, sixth)
			})
		})
	}
}

// demandCounts demands how many connections there are, from how many addresses, and how many may be closed.
func (s *limited) demandCounts(want ...int) {
	s.t.Helper()
	c := s.connections
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := []int{c.all.count, len(c.clients), len(c.all.closable)}; !slices.Equal(got, want) {
		s.t.Errorf("connections, addresses, and those that may be closed: %v, want %v", got, want)
	}
}

// TestConnections_CountEnds: connections that have ended are not counted, and nothing is remembered of their addresses.
func TestConnections_CountEnds(t *testing.T) {
	testLimited(t, ConnectionLimits{Total: 3, PerAddress: 1}, func(s *limited) {
		signedIn := s.dial("192.0.2.100:1", signedPost)
		for i := range 20 {
			s.dial(fmt.Sprintf("192.0.2.%d:1", i+1), get)
		}
		s.demandCounts(3, 3, 2)
		time.Sleep(3 * time.Minute) // they are idle for too long
		synctest.Wait()
		s.demandCounts(1, 1, 0)
		_ = signedIn.Close()
		time.Sleep(time.Second) // net/http waits before it closes a connection
		synctest.Wait()
		s.demandCounts(0, 0, 0)
	})
}

// dialFrom connects over TCP from an address of the loopback network.
func dialFrom(t testing.TB, s *Server, from string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// TestConnections_SlowClientsYield: many clients that send bodies byte by byte, from one address or many, keep
// neither a new client out nor one whose request is under way.
func TestConnections_SlowClientsYield(t *testing.T) {
	const total, slow = 50, 90
	for _, addresses := range []int{1, 30} {
		s := startServer(t, Options{Handler: http.HandlerFunc(handleLimited), Connections: NewConnections(ConnectionLimits{Total: total, PerAddress: total / 4})})
		signedIn := dialFrom(t, s, "127.0.0.1")
		_, _ = io.WriteString(signedIn, "POST /signed-in HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
		received := bufio.NewReader(signedIn)
		if line, err := received.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
			t.Fatal(line, err)
		}
		for i := range slow {
			conn := dialFrom(t, s, fmt.Sprintf("127.0.1.%d", i%addresses+1))
			_, _ = io.WriteString(conn, slowPost+"x")
		}
		fresh := dialFrom(t, s, "127.0.1.1")
		_, _ = io.WriteString(fresh, "GET / HTTP/1.0\r\n\r\n")
		if got, err := io.ReadAll(fresh); err != nil || !strings.HasSuffix(string(got), "done") {
			t.Errorf("from %d addresses: a new client receives %q, %v", addresses, got, err)
		}
		_, _ = io.WriteString(signedIn, "ok")
		_, _ = received.ReadString('\n')
		resp, err := http.ReadResponse(received, nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("from %d addresses: the client that is signed in receives %v, %v", addresses, resp, err)
		}
	}
}

// TestConnections_StalledHandshakesYield: TLS handshakes that never end hold no place that a new client needs.
func TestConnections_StalledHandshakesYield(t *testing.T) {
	certs, ca := &Certificates{}, newTestCA(t)
	certs.file.Store(ca.ecdsaPair(t, appHost))
	s, err := Open(Options{Name: "public", Addr: "127.0.0.1:0", Certificates: certs, Log: slog.New(slog.DiscardHandler),
		Handler: http.HandlerFunc(handleLimited), Connections: NewConnections(ConnectionLimits{Total: 20, PerAddress: 5})})
	if err != nil {
		t.Fatal(err)
	}
	s.http.ReadHeaderTimeout = time.Hour
	run(t, s)
	for i := range 60 {
		conn := dialFrom(t, s, fmt.Sprintf("127.0.1.%d", i%10+1))
		_, _ = io.WriteString(conn, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[:i%12])
	}
	for _, protocol := range []string{"h2", "http/1.1"} {
		client := ca.client(t, s, protocol)
		resp, err := client.Get("https://" + appHost + "/")
		if err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(body) != "done" {
			t.Errorf("%s: a new client receives %q, %v", protocol, body, err)
		}
	}
}

// TestConnections_HTTP2 opens an anonymous stream without end on one connection, and one of a caller who is signed in on
// another beside an anonymous one. New connections take the place of the first.
func TestConnections_HTTP2(t *testing.T) {
	certs, ca := &Certificates{}, newTestCA(t)
	certs.file.Store(ca.ecdsaPair(t, appHost))
	s := startServer(t, Options{Certificates: certs, Handler: http.HandlerFunc(handleLimited), Connections: NewConnections(ConnectionLimits{Total: 3})})
	open := func(client *http.Client, path string) (body *io.PipeWriter, ended chan error) {
		read, write := io.Pipe()
		resp, err := client.Post("https://"+appHost+path, "text/plain", read)
		if err != nil {
			t.Fatal(err)
		}
		ended = make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			ended <- err
		}()
		return write, ended
	}
	anonymous, shared := ca.client(t, s, "h2"), ca.client(t, s, "h2")
	_, slow := open(anonymous, "/stream")
	signedIn, signedInEnds := open(shared, "/signed-in/stream")
	beside, besideEnds := open(shared, "/stream")
	for range 6 {
		c := ca.client(t, s, "h2")
		resp, err := c.Get("https://" + appHost + "/signed-in")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	if err := <-slow; err == nil {
		t.Error("the anonymous stream is still there")
	}
	_, _ = signedIn.Close(), beside.Close()
	if err := errors.Join(<-signedInEnds, <-besideEnds); err != nil {
		t.Errorf("the streams beside that of a caller who is signed in end with %v", err)
	}
}

// TestConnections_AddressOfHeader: behind a load balancer, the address is the one that the PROXY protocol header names.
func TestConnections_AddressOfHeader(t *testing.T) {
	trusted := func(a netip.Addr) bool { return a.IsLoopback() }
	s := startServer(t, Options{Handler: http.HandlerFunc(handleLimited), ProxyProtocol: NewProxyProtocol(trusted, slog.New(slog.DiscardHandler)),
		Connections: NewConnections(ConnectionLimits{Total: 100, PerAddress: 2, Exempt: trusted})})
	open := func(client string) net.Conn {
		conn := dialFrom(t, s, "127.0.0.1")
		_, _ = io.WriteString(conn, "PROXY TCP4 "+client+" 192.0.2.1 4711 443\r\n"+
			"POST /signed-in HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
		return conn
	}
	for _, c := range []struct {
		client string
		open   bool
	}{{"203.0.113.1", true}, {"203.0.113.1", true}, {"203.0.113.1", false}, {"203.0.113.2", true}, {"127.0.0.1", true}, {"127.0.0.1", true}, {"127.0.0.1", true}} {
		if _, err := open(c.client).Read(make([]byte, 1)); (err == nil) != c.open {
			t.Errorf("a connection of %s: %v", c.client, err)
		}
	}
}

// TestConnections_Limit changes the limits while there are connections: those beyond them are closed as they would be for
// new ones, and the next connections find the limits that are in force.
func TestConnections_Limit(t *testing.T) {
	testLimited(t, ConnectionLimits{Total: 6, PerAddress: 3}, func(s *limited) {
		t := s.t
		signedIn := s.dial("192.0.2.1:1", signedPost)
		alsoSigned := s.dial("192.0.2.1:2", signedPost)
		slow := s.dial("192.0.2.2:1", slowPost)
		idle := s.dial("192.0.2.3:1", get)
		time.Sleep(20 * time.Second)
		all := []*client{signedIn, alsoSigned, slow, idle}
		s.connections.Limit(3, 3)
		synctest.Wait()
		demandEnded(t, "+++-", all...)
		s.connections.Limit(1, 1)
		synctest.Wait()
		demandEnded(t, "++--", all...) // nobody who is signed in is cut off
		if n := testutil.ToFloat64(s.connections.limit); n != 1 {
			t.Errorf("the limit in the metrics is %v", n)
		}
		waiting := s.dial("192.0.2.4:1", get)
		if len(waiting.received) != 0 {
			t.Error("a connection beyond the limit is served")
		}
		s.connections.Limit(10, 2)
		synctest.Wait()
		if string(waiting.receivedNow()) == "" {
			t.Error("the connection that waited is not served when there is a place")
		}
		third := s.dial("192.0.2.1:3", get)
		synctest.Wait()
		demandEnded(t, "++-", signedIn, alsoSigned, third)
		s.connections.Limit(10, 0)
		for port := range 5 {
			c := s.dial(fmt.Sprintf("192.0.2.1:%d", 10+port), slowPost)
			demandEnded(t, "+", c)
		}
	})
}
