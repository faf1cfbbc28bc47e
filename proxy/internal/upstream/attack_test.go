package upstream

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sallyport/proxy/internal/lifetime"
)

// badTarget listens on loopback, hands each connection to serve and counts them.
func badTarget(t *testing.T, serve func(*net.TCPConn)) (addr string, conns *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	conns = new(atomic.Int64)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			go func() {
				defer conn.Close()
				tcp, _ := conn.(*net.TCPConn)
				serve(tcp)
			}()
		}
	}()
	return l.Addr().String(), conns
}

func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

// afterRequest responds to the header of one request with text and resets the connection.
func afterRequest(text string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, text)
			reset(conn)
		}
	}
}

// badServers are what a target may do instead of responding.
var badServers = map[string]func(*net.TCPConn){
	"resets_after_accept":    reset,
	"closes_after_accept":    func(conn *net.TCPConn) { _ = conn.Close() },
	"resets_after_request":   afterRequest(""),
	"resets_in_status_line":  afterRequest("HTTP/1.1 2"),
	"resets_in_header":       afterRequest("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-"),
	"resets_after_hint":      afterRequest("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
	"floods":                 afterRequest(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", maxInformational+1)),
	"speaks_no_HTTP":         afterRequest("220 mail.example.com ESMTP\r\n"),
	"responds_ambiguously":   afterRequest("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
	"sends_too_long_headers": afterRequest("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", MaxHeaderBytes) + "\r\n\r\n"),
}

// secureServer returns a target that speaks HTTP/1.1 or HTTP/2 over TLS, and the configuration that trusts it.
func secureServer(t *testing.T, h2 bool) (*httptest.Server, *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.EnableHTTP2 = h2
	s.StartTLS()
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return s, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// TestUpstream_ServesWhileOneTargetIsWell checks that every request that is safe to repeat gets its response while one
// of three targets is well, whatever the two others do, and that a request with a body reaches one target at most.
func TestUpstream_ServesWhileOneTargetIsWell(t *testing.T) {
	var posts atomic.Int64
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			posts.Add(1)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNotFound)
	}))
	defer good.Close()
	bad := badServers
	for name, serve := range bad {
		t.Run(name, func(t *testing.T) {
			addr, conns := badTarget(t, serve)
			for _, rest := range []string{"http://" + addr, "http://" + unusedAddress} {
				for range 10 {
					u := newUpstream(t, Config{Timeout: time.Minute}, "http://"+addr, rest, good.URL) // new: nothing rests
					for _, method := range []string{"GET", "HEAD", "OPTIONS", "GET"} {
						if code, err := send(t.Context(), u, method, ""); code != 404 || err != nil {
							t.Fatalf("%s: %d, %v", method, code, err)
						}
					}
				}
			}
			for range 6 {
				u := newUpstream(t, Config{Timeout: time.Minute}, "http://"+addr, "http://"+addr, good.URL)
				u.turn.Store(2) // the first is the bad one
				before, beforePosts := conns.Load(), posts.Load()
				code, err := send(t.Context(), u, "POST", strings.Repeat("x", 1<<20))
				if sent := conns.Load() - before + posts.Load() - beforePosts; sent != 1 || err == nil {
					t.Fatalf("a POST: %d, %v; sent %d times", code, err, sent)
				}
			}
		})
	}
}

// TestUpstream_ServesWhileOneTLSTargetIsWell checks the same with TLS. A handshake that fails, or hangs for dialTimeout,
// sent nothing, so that even a request that is not safe goes to another target.
func TestUpstream_ServesWhileOneTLSTargetIsWell(t *testing.T) {
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			good, config := secureServer(t, h2)
			stranger := httptest.NewUnstartedServer(http.NotFoundHandler())
			stranger.TLS = &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}
			stranger.Config.ErrorLog = nil
			stranger.StartTLS()
			t.Cleanup(stranger.Close)
			addr, _ := badTarget(t, reset)
			for _, bad := range []string{"https://" + addr, stranger.URL, "https://" + unusedAddress} {
				for _, method := range []string{"GET", "DELETE", "GET"} {
					u := newUpstream(t, Config{Timeout: time.Minute, TLS: config}, good.URL, bad, bad)
					if code, err := send(t.Context(), u, method, ""); code != 404 || err != nil {
						t.Errorf("%s, %s: %d, %v", bad, method, code, err)
					}
					if u.targets[1].available(time.Now()) {
						t.Errorf("%s, %s: the target counts as reachable", bad, method)
					}
				}
			}
		})
	}
}

// TestUpstream_ServesWhileOneHTTP2TargetIsWell checks the same with targets that speak HTTP/2 without TLS.
func TestUpstream_ServesWhileOneHTTP2TargetIsWell(t *testing.T) {
	good := httptest.NewUnstartedServer(http.NotFoundHandler())
	good.Config.Protocols = new(http.Protocols)
	good.Config.Protocols.SetUnencryptedHTTP2(true)
	good.Start()
	t.Cleanup(good.Close)
	h2c := func(addr string) string { return "h2c://" + strings.TrimPrefix(addr, "http://") }
	for name, serve := range map[string]func(*net.TCPConn){
		"resets": reset,
		"closes": func(conn *net.TCPConn) { _ = conn.Close() },
		"speaks_HTTP/1": func(conn *net.TCPConn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
		},
		"resets_after_preface": func(conn *net.TCPConn) { _, _ = io.ReadFull(conn, make([]byte, 30)); reset(conn) },
	} {
		bad, _ := badTarget(t, serve)
		for range 5 {
			u := newUpstream(t, Config{Timeout: time.Minute}, h2c(bad), h2c(unusedAddress), h2c(good.URL))
			for range 4 {
				if code, err := send(t.Context(), u, "GET", ""); code != 404 || err != nil {
					t.Fatalf("%s: %d, %v", name, code, err)
				}
			}
		}
	}
}

// selfSigned returns a certificate that nobody trusts.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestUpstream_FollowsChosenProtocol checks that an https target is spoken to over the protocol that it chooses, also
// after it changed, and that a WebSocket handshake goes over HTTP/1.1.
func TestUpstream_FollowsChosenProtocol(t *testing.T) {
	var proto atomic.Value
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { proto.Store(r.Proto) })
	start := func(addr string, h2 bool) *httptest.Server {
		s := httptest.NewUnstartedServer(h)
		if addr != "" {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			_ = s.Listener.Close()
			s.Listener = l
		}
		s.EnableHTTP2 = h2
		s.StartTLS()
		return s
	}
	s := start("", true)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	u := newUpstream(t, Config{Timeout: time.Minute, TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}, s.URL)
	want := func(method, body, header, protocol string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://app.example.com/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if header != "" {
			r.Header.Set("Upgrade", header)
			r.Header.Set("Connection", "Upgrade")
		}
		res, err := u.RoundTrip(lifetime.New(r.Context()), requestOf(r))
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if proto.Load() != protocol {
			t.Errorf("%s %s: %v, want %s", method, header, proto.Load(), protocol)
		}
	}
	want("POST", "x", "", "HTTP/2.0") // the first request has a body
	want("GET", "", "", "HTTP/2.0")
	want("GET", "", "websocket", "HTTP/1.1")
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		addr := s.Listener.Addr().String()
		s.CloseClientConnections()
		s.Close()
		u.CloseIdleConnections()
		s = start(addr, protocol == "HTTP/2.0")
		want("GET", "", "", protocol)
		want("POST", "x", "", protocol)
	}
	s.Close()
}

// TestUpstream_ExhaustionIsNoFailure checks that a target does not count as unreachable, nor as unhealthy, if this
// process has no file descriptors left.
func TestUpstream_ExhaustionIsNoFailure(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secure, config := secureServer(t, true)
	byName := strings.Replace(plain.URL, "127.0.0.1", "upstream.internal", 1)
	for _, url := range []string{plain.URL, strings.Replace(plain.URL, "http", "h2c", 1), secure.URL, byName} {
		u := newUpstream(t, Config{Timeout: time.Minute, TLS: config, Health: &Health{Path: "/", Every: time.Minute, Timeout: time.Second}}, url)
		u.targets[0].dialer.Resolver = &net.Resolver{PreferGo: true} // as in a binary without cgo
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		none := limit
		none.Cur = 0
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
			t.Fatal(err)
		}
		_, err := send(t.Context(), u, "GET", "")
		_, errPost := send(t.Context(), u, "POST", "x")
		for i := range 3 {
			u.CheckHealth(t.Context(), time.Now().Add(time.Duration(i)*time.Minute), "app.example.com", make(chan struct{}, 1), func(string, bool) {})
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		if !IsExhausted(err) || !IsExhausted(errPost) {
			t.Errorf("%s: %v; %v", url, err, errPost)
		}
		if n, _ := u.Unhealthy(); n != 0 || !u.targets[0].available(time.Now()) {
			t.Errorf("%s: the target counts as unreachable", url)
		}
	}
}
