package listen

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	bbolt "go.etcd.io/bbolt"
	"golang.org/x/crypto/acme/autocert"

	"sallyport/store/bolt"
)

func openStore(t *testing.T, path string) *bolt.Store {
	t.Helper()
	st, err := bolt.Open(path, bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// TestCertCache_KeepsCertificates: certificates survive a restart and are used for their own authority alone; challenge
// responses do not survive; a damaged record is a cache miss.
func TestCertCache_KeepsCertificates(t *testing.T) {
	ctx, path, log := t.Context(), filepath.Join(t.TempDir(), "store.db"), slog.New(slog.DiscardHandler)
	st := openStore(t, path)
	c := newCertCache(st, "https://ca.example/dir", log)
	for _, name := range []string{appHost, "acme_account+key", appHost + alpnTokenSuffix, "x" + httpTokenSuffix} {
		if _, err := c.Get(ctx, name); err != autocert.ErrCacheMiss { //nolint:errorlint // autocert compares it with ==
			t.Errorf("before Put, %s gives %v", name, err)
		}
		if err := c.Put(ctx, name, []byte("of "+name)); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Get(ctx, name); err != nil || string(got) != "of "+name {
			t.Errorf("%s gives %q, %v", name, got, err)
		}
	}
	if _, err := newCertCache(st, "https://staging.ca.example/dir", log).Get(ctx, appHost); err != autocert.ErrCacheMiss { //nolint:errorlint // as above
		t.Errorf("the certificate of another authority is used: %v", err)
	}
	if err := c.Delete(ctx, "x"+httpTokenSuffix); err != nil {
		t.Fatal(err)
	}
	_ = st.Close()

	flipBit(t, path, acmeKeys+"https://ca.example/dir\x00"+appHost)
	st = openStore(t, path)
	c = newCertCache(st, "https://ca.example/dir", log)
	for name, want := range map[string]error{appHost: autocert.ErrCacheMiss, "acme_account+key": nil, appHost + alpnTokenSuffix: autocert.ErrCacheMiss} {
		if _, err := c.Get(ctx, name); err != want { //nolint:errorlint // as above
			t.Errorf("after a restart and with a flipped bit, %s gives %v, want %v", name, err, want)
		}
	}
	if err := errors.Join(c.Put(ctx, appHost, []byte("new")), c.Delete(ctx, "acme_account+key")); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(ctx, appHost); err != nil || string(got) != "new" {
		t.Errorf("in place of a damaged record there is %q, %v", got, err)
	}
	if err := st.Check(ctx); err != nil {
		t.Error(err)
	}
}

// flipBit flips a bit of the record at key.
func flipBit(t *testing.T, path, key string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		value := bytes.Clone(tx.Bucket([]byte("data")).Get([]byte(key)))
		value[len(value)-1] ^= 1
		return tx.Bucket([]byte("data")).Put([]byte(key), value)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestServer_RejectsRequestsOnChallengeConnections: a connection by which an authority validates a host serves no
// request.
func TestServer_RejectsRequestsOnChallengeConnections(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	certs, err := NewCertificates(TLS{ACME: &ACME{DirectoryURL: "https://ca.example/dir"}}, func() []string { return []string{appHost} }, openStore(t, filepath.Join(t.TempDir(), "store.db")), log)
	if err != nil {
		t.Fatal(err)
	}
	ca := newTestCA(t)
	key, cert := encode(t, ca.ecdsaPair(t, appHost))
	if err := certs.acme.cache.Put(t.Context(), appHost+alpnTokenSuffix, append(key, cert...)); err != nil {
		t.Fatal(err)
	}
	handled := false
	s := startServer(t, Options{Certificates: certs, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { handled = true })})
	dialTLS := func(name string, protocols ...string) (*tls.Conn, error) {
		return tls.Dial("tcp", s.Addr().String(), &tls.Config{RootCAs: ca.pool, ServerName: name, NextProtos: protocols})
	}
	conn, err := dialTLS(appHost, "acme-tls/1")
	if err != nil {
		t.Fatal(err)
	}
	if block, _ := pem.Decode(cert); !bytes.Equal(conn.ConnectionState().PeerCertificates[0].Raw, block.Bytes) {
		t.Error("the certificate is not that of the challenge")
	}
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+appHost+"\r\n\r\n")
	if got, _ := io.ReadAll(conn); len(got) > 0 {
		t.Errorf("the response is %q", got)
	}
	_ = conn.Close()
	for _, protocols := range [][]string{nil, {"http/1.1"}, {"acme-tls/1", "http/1.1"}, {"http/1.1", "acme-tls/1"}} {
		if _, err := dialTLS(appHost, protocols...); err == nil {
			t.Errorf("a client that offers %v gets the challenge certificate", protocols)
		}
	}
	if handled {
		t.Error("a request was handled")
	}
}

// TestACME_BackoffGrows: after each failure, up to two hours.
func TestACME_BackoffGrows(t *testing.T) {
	m := &acmeManager{backoffs: map[string]backoff{}}
	var total int
	for range 10 {
		m.postpone(appHost)
		total += int(m.backoffs[appHost].delay.Minutes())
	}
	if m.due(appHost) || !m.due(apiHost) || m.backoffs[appHost].delay != maxBackoff || total != 2+4+8+16+32+64+120*4 {
		t.Errorf("after ten failures %v, %d minutes in all", m.backoffs, total)
	}
	m.forgetOthers([]string{apiHost})
	if len(m.backoffs) > 0 {
		t.Error("a host that is no longer configured is remembered")
	}
}

// TestACME_InvalidEABKeyIsNotQuoted: a file that does not hold a key is rejected, and its content is not in the error.
func TestACME_InvalidEABKeyIsNotQuoted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "eab")
	for text, valid := range map[string]bool{"c2VjcmV0": true, "c2VjcmV0\n": true, "c2VjcmV0cw==": true, "": false, "canary!": false, "+++/": false} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var err error
		TLS{ACME: &ACME{EAB: &EAB{KeyID: "k", KeyFile: path}}}.CheckFiles(func(path, problem string) { err = errors.New(path + ": " + problem) })
		if (err == nil) != valid {
			t.Errorf("%q gives %v", text, err)
		}
		if err != nil && bytes.Contains([]byte(err.Error()), []byte("canary")) {
			t.Errorf("the error quotes the key: %v", err)
		}
	}
}
