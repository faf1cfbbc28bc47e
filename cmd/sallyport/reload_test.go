package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport/config"
)

// newReloader returns a reloader of the configuration as it is, which has apply put another one in force.
func (w *world) newReloader(apply func()) *reloader {
	w.t.Helper()
	path := w.dir + "/sallyport.yaml"
	file, err := config.Load(path)
	if err != nil {
		w.t.Fatal(err)
	}
	return newReloader(path, file, func(context.Context, *config.File) error { apply(); return nil }, slog.New(slog.DiscardHandler))
}

// TestReloader_WatchesFilesInForce names other certificate files: from then on their content is watched, and no longer
// that of the former ones.
func TestReloader_WatchesFilesInForce(t *testing.T) {
	w := newWorld(t)
	r := w.newReloader(func() {})
	cert, key := w.ca.issue(t, loginHost)
	writeFile(t, w.dir, "other.crt", cert)
	writeFile(t, w.dir, "other.key", key)
	w.rewrite("tls.crt, key_file: tls.key", "other.crt, key_file: other.key")
	if !r.contentChanged() {
		t.Fatal("the change of the file is not seen")
	}
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.contentChanged() {
		t.Error("nothing has changed, and it is seen as a change")
	}
	writeFile(t, w.dir, "other.crt", append(cert, '\n'))
	if !r.contentChanged() {
		t.Error("a change of the new certificate is not seen")
	}
	writeFile(t, w.dir, "tls.crt", append(cert, '\n'))
	if _ = r.contentChanged(); r.contentChanged() {
		t.Error("a change of the former certificate is seen")
	}
}

// TestReloader_ReadsFaultyFileOnce reloads a file with a fault: it is not read again before it changes.
func TestReloader_ReadsFaultyFileOnce(t *testing.T) {
	w := newWorld(t)
	sound := readFile(t, w.dir+"/sallyport.yaml")
	r := w.newReloader(func() {})
	writeFile(t, w.dir, "sallyport.yaml", []byte("publik_url: x\n"))
	if err := r.Reload(t.Context()); err == nil {
		t.Fatal("a file with a fault is put in force")
	}
	if r.contentChanged() {
		t.Error("a file with a fault is read twice")
	}
	writeFile(t, w.dir, "sallyport.yaml", sound)
	if !r.contentChanged() {
		t.Error("it is not seen that the fault is gone")
	}
}

// TestReloader_SeesChangeDuringReload changes the file while it is put in force: the change is not lost.
func TestReloader_SeesChangeDuringReload(t *testing.T) {
	w := newWorld(t)
	r := w.newReloader(func() { w.rewrite("owner@example.com", "other@example.com") })
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !r.contentChanged() {
		t.Error("the change is lost")
	}
}

// TestReloader_WatchesFilesThatAreNamed changes the files that the configuration names for what they hold. What is no ordinary
// file, such as a named pipe, is not opened.
func TestReloader_WatchesFilesThatAreNamed(t *testing.T) {
	w := newWorld(t)
	r := w.newReloader(func() {})
	for _, name := range []string{"secrets/oidc", "ca.pem", "tls.key"} {
		writeFile(t, w.dir, name, append(readFile(t, filepath.Join(w.dir, name)), '\n'))
		if !r.contentChanged() || r.contentChanged() {
			t.Errorf("a change of %s is not seen once", name)
		}
	}
	secret := filepath.Join(w.dir, "secrets/oidc")
	if err := errors.Join(os.Remove(secret), syscall.Mkfifo(secret, 0o600)); err != nil {
		t.Fatal(err)
	}
	if !r.contentChanged() || r.contentChanged() {
		t.Error("a named pipe in place of the secret is not seen once")
	}
}

// TestConfiguration_NamesWhatNeedsRestart compares the table in docs/configuration.md with the settings that a running server
// does not change.
func TestConfiguration_NamesWhatNeedsRestart(t *testing.T) {
	page := string(readFile(t, "../../docs/configuration.md"))
	_, table, ok := strings.Cut(page, "\n| needs a restart | because |\n|---|---|\n")
	table, _, end := strings.Cut(table, "\n\n")
	if !ok || !end {
		t.Fatal("there is no such table")
	}
	var listed, keys []string
	for row := range strings.Lines(table) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		cell, _, _ = strings.Cut(cell, ", if ")
		for key := range strings.SplitSeq(cell, ",") {
			listed = append(listed, strings.Trim(key, " `"))
		}
	}
	for _, setting := range fixed {
		keys = append(keys, setting.key)
	}
	if !slices.Equal(listed, keys) {
		t.Errorf("the table lists %q, and the settings are %q", listed, keys)
	}
}

// rewrite replaces text in the configuration file.
func (w *world) rewrite(old, new string) {
	w.t.Helper()
	data, err := os.ReadFile(w.dir + "/sallyport.yaml")
	if err != nil {
		w.t.Fatal(err)
	}
	if !strings.Contains(string(data), old) {
		w.t.Fatalf("the configuration has no %q", old)
	}
	writeFile(w.t, w.dir, "sallyport.yaml", []byte(strings.Replace(string(data), old, new, 1)))
}

// certificateAt returns the certificate that the listener at addr presents for name.
func certificateAt(t testing.TB, addr, name string) *x509.Certificate {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{ServerName: name, InsecureSkipVerify: true}) // any issuer will do
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

// awaitLog waits until the log has text, which arrives later than what the server does meanwhile.
func awaitLog(t *testing.T, s *running, text string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); !strings.Contains(s.log(), text); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the log never says %q:\n%s", text, s.log())
		}
	}
}

// TestReload_ReplacesCertificates replaces the certificate before its key: until both fit together, both listeners
// keep the former certificate, and the log says why.
func TestReload_ReplacesCertificates(t *testing.T) {
	s := newStage(t)
	old := certificateAt(t, s.server.addrs["public"], appHost)
	cert, key := s.ca.issue(t, loginHost, appHost, apiHost)
	writeFile(t, s.dir, "tls.crt", cert) // the key is still that of the former certificate
	await(t, s.server, "sallyport_config_last_reload_successful 0\n")
	for _, listener := range []string{"public", "scim"} {
		if !certificateAt(t, s.server.addrs[listener], appHost).Equal(old) {
			t.Errorf("a certificate without its key is presented on the %s listener", listener)
		}
	}
	awaitLog(t, s.server, "the former settings stay in force")
	awaitLog(t, s.server, "private key does not match public key")
	if code := s.browser.fetch("/"); code != http.StatusOK {
		t.Errorf("alice gets %d", code)
	}
	writeFile(t, s.dir, "tls.key", key)
	await(t, s.server, "sallyport_config_last_reload_successful 1\n")
	for _, listener := range []string{"public", "scim"} {
		if certificateAt(t, s.server.addrs[listener], appHost).Equal(old) {
			t.Errorf("the former certificate is presented on the %s listener", listener)
		}
	}
	await(t, s.server, "sallyport_tls_certificate_expiry_timestamp_seconds ")
	s.push.send("GET", "/Users", nil, http.StatusOK)
}

// TestReload_ChangesTheSourceOfCertificates changes from files to ACME: until the authority has issued a certificate, the former
// one is presented, for hosts that are configured.
func TestReload_ChangesTheSourceOfCertificates(t *testing.T) {
	w := newWorld(t)
	s := w.start("--init")
	old := certificateAt(t, s.addrs["public"], appHost)
	w.rewrite("tls: {cert_file: tls.crt, key_file: tls.key}", "tls: {acme: {accept_terms: true, directory_url: 'https://127.0.0.1:1/dir'}}")
	if out := s.verb("reload"); !strings.Contains(out, "all of the file is in force") {
		t.Errorf("the reload says %q", out)
	}
	await(t, s, "sallyport_tls_hosts_without_certificate 3\n")
	if !certificateAt(t, s.addrs["public"], appHost).Equal(old) {
		t.Error("another certificate is presented")
	}
	if conn, err := tls.Dial("tcp", s.addrs["public"], &tls.Config{ServerName: "other.test", InsecureSkipVerify: true}); err == nil { // whatever it presents
		_ = conn.Close()
		t.Error("a certificate is presented for a host that is not configured")
	}
	w.rewrite("tls: {acme: {accept_terms: true, directory_url: 'https://127.0.0.1:1/dir'}}", "tls: {cert_file: tls.crt, key_file: tls.key}")
	s.verb("reload")
	certificateAt(t, s.addrs["public"], "other.test")
	if text := scrape(t, s); strings.Contains(text, "sallyport_tls_hosts_without_certificate") {
		t.Error("certificates of an authority are counted, and there is none")
	}
}
