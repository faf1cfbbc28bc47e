package listen

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// startServer opens a server on a free port of 127.0.0.1 and runs it until the test ends.
func startServer(t testing.TB, o Options) *Server {
	t.Helper()
	o.Name, o.Addr, o.Log = "test", "127.0.0.1:0", slog.New(slog.DiscardHandler)
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	run(t, s)
	return s
}

// run runs s until the test ends, and then demands that it ends without an error.
func run(t testing.TB, s *Server) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Run(ctx) }()
	t.Cleanup(func() {
		_ = s.http.Close() // do not wait for requests under way
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func dial(t testing.TB, s *Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestServer_StalledHandshakeEnds: a TLS handshake that does not continue is ended by its deadline.
func TestServer_StalledHandshakeEnds(t *testing.T) {
	certs := &Certificates{}
	certs.file.Store(newTestCA(t).ecdsaPair(t, appHost))
	s, err := Open(Options{Name: "public", Addr: "127.0.0.1:0", Certificates: certs, Log: slog.New(slog.DiscardHandler),
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})})
	if err != nil {
		t.Fatal(err)
	}
	s.http.ReadHeaderTimeout = 100 * time.Millisecond // bounds the handshake as well
	run(t, s)
	for _, sent := range []string{"", "\x16", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"} {
		conn := dial(t, s)
		_, _ = io.WriteString(conn, sent)
		if _, err := io.ReadAll(conn); err != nil {
			t.Errorf("after %q the connection ends with %v", sent, err)
		}
	}
}

// TestServer_FinishesRequestsUnderWay: when Run is told to stop, a request under way gets its response, and no
// connection is accepted any more.
func TestServer_FinishesRequestsUnderWay(t *testing.T) {
	entered, proceed := make(chan struct{}), make(chan struct{})
	s, err := Open(Options{Name: "test", Addr: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-proceed
			_, _ = io.WriteString(w, "finished")
		})})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Run(ctx) }()
	conn := dial(t, s)
	_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
	<-entered
	stop()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if late, err := net.Dial("tcp", s.Addr().String()); err != nil {
			break
		} else if _ = late.Close(); time.Now().After(deadline) {
			t.Fatal("the listener is still open")
		}
	}
	close(proceed)
	if got, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(got), "\r\n\r\nfinished") {
		t.Errorf("the response is %q, %v", got, err)
	}
	if err := <-served; err != nil {
		t.Errorf("Run returns %v", err)
	}
}

// TestServer_FailedListenerIsAnError: if the listener fails, Run returns the error.
func TestServer_FailedListenerIsAnError(t *testing.T) {
	s, err := Open(Options{Name: "test", Addr: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler), Handler: http.NotFoundHandler()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "serving on the test listener") {
		t.Errorf("Run returns %v", err)
	}
}
