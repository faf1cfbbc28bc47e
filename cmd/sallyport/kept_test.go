package main

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	bbolt "go.etcd.io/bbolt"
	"golang.org/x/crypto/acme/autocert"

	"sallyport/config"
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

// TestKeptCertificates: what an authority gave is there after a restart, and for it alone;
// what answers its questions is not kept; a damaged record counts as none.
func TestKeptCertificates(t *testing.T) {
	ctx, path, log := t.Context(), filepath.Join(t.TempDir(), "store.db"), slog.New(slog.DiscardHandler)
	st := openStore(t, path)
	k := newKeptCertificates(st, "https://ca.example/dir", log)
	for _, name := range []string{appHost, "acme_account+key", appHost + tokenCertMark, "x" + tokenMark} {
		if _, err := k.Get(ctx, name); err != autocert.ErrCacheMiss { // as autocert compares it
			t.Errorf("before anything is put, %s gives %v", name, err)
		}
		if err := k.Put(ctx, name, []byte("of "+name)); err != nil {
			t.Fatal(err)
		}
		if got, err := k.Get(ctx, name); err != nil || string(got) != "of "+name {
			t.Errorf("%s gives %q, %v", name, got, err)
		}
	}
	if _, err := newKeptCertificates(st, "https://staging.ca.example/dir", log).Get(ctx, appHost); err != autocert.ErrCacheMiss {
		t.Errorf("another authority's is taken: %v", err)
	}
	if err := k.Delete(ctx, "x"+tokenMark); err != nil {
		t.Fatal(err)
	}
	_ = st.Close()

	bend(t, path, certificateKeys+"https://ca.example/dir\x00"+appHost)
	st = openStore(t, path)
	k = newKeptCertificates(st, "https://ca.example/dir", log)
	for name, want := range map[string]error{appHost: autocert.ErrCacheMiss, "acme_account+key": nil, appHost + tokenCertMark: autocert.ErrCacheMiss} {
		if _, err := k.Get(ctx, name); err != want {
			t.Errorf("after a restart, and with a bit bent, %s gives %v, want %v", name, err, want)
		}
	}
	if err := errors.Join(k.Put(ctx, appHost, []byte("new")), k.Delete(ctx, "acme_account+key")); err != nil {
		t.Fatal(err)
	}
	if got, err := k.Get(ctx, appHost); err != nil || string(got) != "new" {
		t.Errorf("in a damaged record's place there is %q, %v", got, err)
	}
	if err := st.Check(ctx); err != nil {
		t.Error(err)
	}
}

// bend flips a bit in the record at key.
func bend(t *testing.T, path, key string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		bent := bytes.Clone(tx.Bucket([]byte("data")).Get([]byte(key)))
		bent[len(bent)-1] ^= 1
		return tx.Bucket([]byte("data")).Put([]byte(key), bent)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestWhoAsksForAProofGetsNothingElse: a connection by which an authority sees that a name
// is ours answers no request.
func TestWhoAsksForAProofGetsNothingElse(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	o, err := newOrders(config.ACME{DirectoryURL: "https://ca.example/dir"}, func() []string { return []string{appHost} }, openStore(t, filepath.Join(t.TempDir(), "store.db")), log)
	if err != nil {
		t.Fatal(err)
	}
	ca := newAuthority(t)
	cert, key := ca.issue(t, appHost)
	if err := o.kept.Put(t.Context(), appHost+tokenCertMark, append(key, cert...)); err != nil {
		t.Fatal(err)
	}
	certs := &certificates{orders: o}
	answered := false
	d := newDoor("public", func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
		certs.nothingElse(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { answered = true })), certs.config(), log)
	if err := d.open(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- d.serve() }()
	dial := func(name string, protocols ...string) (*tls.Conn, error) {
		return tls.Dial("tcp", d.listener.Addr().String(), &tls.Config{RootCAs: ca.pool, ServerName: name, NextProtos: protocols})
	}
	conn, err := dial(appHost, "acme-tls/1")
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := pem.Decode(cert); !bytes.Equal(conn.ConnectionState().PeerCertificates[0].Raw, got.Bytes) {
		t.Error("it is not the proof that is shown")
	}
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+appHost+"\r\n\r\n")
	if got, _ := io.ReadAll(conn); len(got) > 0 {
		t.Errorf("it is answered %q", got)
	}
	_ = conn.Close()
	for _, protocols := range [][]string{nil, {"http/1.1"}, {"acme-tls/1", "http/1.1"}, {"http/1.1", "acme-tls/1"}} {
		if _, err := dial(appHost, protocols...); err == nil {
			t.Errorf("who speaks %v is shown a proof", protocols)
		}
	}
	_ = d.server.Close()
	if err := <-served; err != nil || answered {
		t.Errorf("answered: %v, %v", answered, err)
	}
}

// TestPausesGrow after each failure, and no further than two hours.
func TestPausesGrow(t *testing.T) {
	o := &orders{pauses: map[string]pause{}}
	var total int
	for range 10 {
		o.postpone(appHost)
		total += int(o.pauses[appHost].last.Minutes())
	}
	if o.due(appHost) || !o.due(apiHost) || o.pauses[appHost].last != longestPause || total != 2+4+8+16+32+64+120*4 {
		t.Errorf("after ten failures %v, %d minutes in all", o.pauses, total)
	}
	o.forget([]string{apiHost})
	if len(o.pauses) > 0 {
		t.Error("a host that is ours no more is remembered")
	}
}

// TestEABKeysThatAreNone are refused without being told of.
func TestEABKeysThatAreNone(t *testing.T) {
	dir := t.TempDir()
	for text, sound := range map[string]bool{"c2VjcmV0": true, "c2VjcmV0\n": true, "c2VjcmV0cw==": true, "": false, "canary!": false, "+++/": false} {
		writeFile(t, dir, "eab", []byte(text))
		_, err := readBinding(config.EAB{KeyID: "k", KeyFile: filepath.Join(dir, "eab")})
		if (err == nil) != sound {
			t.Errorf("%q gives %v", text, err)
		}
		if err != nil && bytes.Contains([]byte(err.Error()), []byte("canary")) {
			t.Errorf("the key is told of: %v", err)
		}
	}
}
