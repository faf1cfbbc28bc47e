package oidc

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"sallyport/pemfile"
)

// TestClient_RejectsOtherProtocols: net/http ends no connection that has switched to another protocol, not even at the end of the
// request's time, so that whoever waits for the body would wait for ever.
func TestClient_RejectsOtherProtocols(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: silence\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}))
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	pool, err := pemfile.Pool(ca)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := newClient(pool).Get(server.URL)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	if err == nil {
		t.Error("a response that switches to another protocol is accepted")
	}
}

// TestClient_SurvivesClosedConnection: a provider closes a connection that it kept, just when a request for tokens is sent.
func TestClient_SurvivesClosedConnection(t *testing.T) {
	type used struct{}
	var served atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(used{}).(*atomic.Int32).Add(1) > 1 {
			panic(http.ErrAbortHandler) // closes the connection
		}
		body, err := io.ReadAll(r.Body)
		if _, sent := r.Header["Idempotency-Key"]; sent || err != nil || string(body) != "code=c" {
			t.Errorf("the provider gets %q with %v, %v", body, r.Header, err)
		}
		served.Add(1)
	}))
	server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, used{}, new(atomic.Int32))
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	authorities := x509.NewCertPool()
	authorities.AddCert(server.Certificate())
	client := newClient(authorities)
	for n := range 3 {
		resp, err := client.Post(server.URL, "application/x-www-form-urlencoded", strings.NewReader("code=c"))
		if err != nil {
			t.Fatalf("request %d: %v", n+1, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	if n := served.Load(); n != 3 {
		t.Errorf("%d of 3 requests were served", n)
	}
}
