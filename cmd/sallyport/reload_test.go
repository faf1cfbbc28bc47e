package main

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"sallyport/config"
)

// TestTheFilesLookedAtAreThoseInForce: once other certificate files are named, their
// content is what counts, and the former files' is not.
func TestTheFilesLookedAtAreThoseInForce(t *testing.T) {
	w := newWorld(t)
	path := w.dir + "/sallyport.yaml"
	file, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	r := newReloader(path, file, func(*config.File) error { return nil }, slog.New(slog.DiscardHandler))
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
		t.Error("it is read again although nothing has changed")
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

// shown is the certificate that the listener at addr shows for name.
func shown(t testing.TB, addr, name string) *x509.Certificate {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{ServerName: name, InsecureSkipVerify: true}) // whoever signed it
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

// awaitLog waits until the log has text.
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

// TestCertificatesAreReplacedWhileServing: on both listeners; half of a replacement
// changes nothing, and is shown.
func TestCertificatesAreReplacedWhileServing(t *testing.T) {
	s := newStage(t)
	old := shown(t, s.server.addrs["public"], appHost)
	cert, key := s.ca.issue(t, loginHost, appHost, apiHost)
	writeFile(t, s.dir, "tls.crt", cert) // the key is still the former one's
	await(t, s.server, "sallyport_config_last_reload_successful 0\n")
	for _, door := range []string{"public", "scim"} {
		if !shown(t, s.server.addrs[door], appHost).Equal(old) {
			t.Errorf("half of a replacement is shown on the %s listener", door)
		}
	}
	awaitLog(t, s.server, "the former settings stay in force")
	awaitLog(t, s.server, "private key does not match public key")
	if code := s.browser.fetch("/"); code != http.StatusOK {
		t.Errorf("alice gets %d", code)
	}
	writeFile(t, s.dir, "tls.key", key)
	await(t, s.server, "sallyport_config_last_reload_successful 1\n")
	for _, door := range []string{"public", "scim"} {
		if shown(t, s.server.addrs[door], appHost).Equal(old) {
			t.Errorf("the former certificate is shown on the %s listener", door)
		}
	}
	await(t, s.server, "sallyport_tls_certificate_expiry_timestamp_seconds ")
	s.push.send("GET", "/Users", nil, http.StatusOK)
}

// TestWhetherCertificatesComeFromFilesNeedsARestart, and nothing breaks meanwhile.
func TestWhetherCertificatesComeFromFilesNeedsARestart(t *testing.T) {
	w := newWorld(t)
	s := w.start("--init")
	old := shown(t, s.addrs["public"], appHost)
	w.rewrite("tls: {cert_file: tls.crt, key_file: tls.key}", "tls: {acme: {accept_terms: true}}")
	s.verb("reload")
	awaitLog(t, s, `"keys":"tls.acme"`)
	if !shown(t, s.addrs["public"], appHost).Equal(old) {
		t.Error("another certificate is shown")
	}
}
