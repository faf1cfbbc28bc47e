package listen

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestServer_StopsAccepting: while a server hands its listener over to another, no request fails: those on open connections are
// served by the first, which says that the connection ends, and all others by the second.
func TestServer_StopsAccepting(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			ca, certificates := newTestCA(t), &Certificates{}
			certificates.file.Store(ca.ecdsaPair(t, appHost))
			open := func(name string, l func() (net.Listener, error)) (*Server, func()) {
				s, err := Open(Options{Name: name, Addr: "127.0.0.1:0", Listen: l, Log: slog.New(slog.DiscardHandler), Certificates: certificates,
					Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) })})
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(context.Background())
				done := make(chan error, 1)
				go func() { done <- s.Run(ctx) }()
				return s, func() {
					stop()
					if err := <-done; err != nil {
						t.Error(err)
					}
				}
			}
			first, stopFirst := open("first", nil)
			client := func() *http.Client {
				return &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: protocol == "HTTP/2.0", TLSClientConfig: &tls.Config{RootCAs: ca.pool, ServerName: appHost}}}
			}
			ask := func(c *http.Client, method, want string) *http.Response {
				t.Helper()
				req, err := http.NewRequest(method, "https://"+first.Addr().String(), nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Host = appHost
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				text, err := io.ReadAll(resp.Body)
				if err != nil || string(text) != want || resp.Proto != protocol {
					t.Errorf("the response of %s is %q by %s, %v", want, text, resp.Proto, err)
				}
				return resp
			}
			idle := client()
			ask(idle, http.MethodPost, "first")
			f, err := first.File()
			if err != nil {
				t.Fatal(err)
			}
			second, stopSecond := open("second", func() (net.Listener, error) { return FromFile(f) })
			first.StopAccepting()
			ask(client(), http.MethodPost, "second")
			if resp := ask(idle, http.MethodPost, "first"); protocol == "HTTP/1.1" && !resp.Close {
				t.Error("the response does not say that the connection ends")
			}
			for deadline := time.Now().Add(20 * time.Second); first.Connections() > 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			}
			if n := first.Connections(); n != 0 {
				t.Errorf("%d connections are open", n)
			}
			ask(idle, http.MethodPost, "second")
			stopFirst()
			ask(idle, http.MethodPost, "second")
			if second.Addr().String() != first.Addr().String() {
				t.Errorf("the second server listens on %s", second.Addr())
			}
			stopSecond()
		})
	}
}

// closing is a listener that is closed as soon as it has accepted a connection.
type closing struct {
	net.Listener
	close func()
}

func (l *closing) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.close()
	}
	return conn, err
}

// TestConnections_KeepsLastAccepted: a connection that was accepted when its listener is closed is not dropped, unless there are
// too many.
func TestConnections_KeepsLastAccepted(t *testing.T) {
	for limit, accepted := range map[int]bool{1: true, 0: false} {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := &limitListener{connections: NewConnections(ConnectionLimits{Name: "test", Total: limit})}
		l.Listener = &closing{tcp, func() { _ = l.Close() }}
		client, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		conn, err := l.Accept()
		if accepted != (err == nil) {
			t.Errorf("with a limit of %d, the connection is accepted with %v", limit, err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

// TestServer_EndsAtOnceAfterStopAccepting: a server that accepts no more and is ended at once ends without an error, however its
// goroutines are scheduled.
func TestServer_EndsAtOnceAfterStopAccepting(t *testing.T) {
	for range 200 {
		s, err := Open(Options{Name: "test", Grace: func() time.Duration { return 0 }, Addr: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler), Handler: http.NotFoundHandler()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		dial(t, s) // which is accepted before or after
		go stop()
		s.StopAccepting()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}
