package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// acmeAuthority is a real ACME server, Pebble, with a DNS server that resolves every name to 127.0.0.1. It validates
// hosts at the ports of this test.
type acmeAuthority struct {
	t         testing.TB
	directory string
	roots     *x509.CertPool
	public    string // address that it validates by TLS-ALPN-01
	http      string // address that it validates by HTTP-01

	mu  sync.Mutex // guards out
	out bytes.Buffer
}

// Write collects the output of the server.
func (a *acmeAuthority) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.out.Write(p)
}

// logged returns how often text is in the output of the server.
func (a *acmeAuthority) logged(text string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Count(a.out.String(), text)
}

// orderCount returns how many orders the server has accepted. It rejects some requests for their nonce; those are sent
// again and not counted.
func (a *acmeAuthority) orderCount() int { return a.logged(`Added order "`) }

// freeAddr returns an address that nothing listens on.
func freeAddr(t testing.TB) string {
	t.Helper()
	return freeAddrs(t, 1)[0]
}

func portOf(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// newACMEAuthority runs an authority whose certificates are valid for lifetime seconds. change alters its settings.
func (w *world) newACMEAuthority(lifetime int, change func(map[string]any)) *acmeAuthority {
	w.t.Helper()
	server, resolver := os.Getenv("PEBBLE"), os.Getenv("PEBBLE_CHALLTESTSRV")
	if server == "" || resolver == "" {
		w.t.Skip("PEBBLE and PEBBLE_CHALLTESTSRV do not name an ACME server and its resolver; ./test.sh tls installs them")
	}
	a := &acmeAuthority{t: w.t, public: freeAddr(w.t), http: freeAddr(w.t)}
	listen, management, dns := freeAddr(w.t), freeAddr(w.t), freeAddr(w.t)
	a.directory = "https://" + listen + "/dir"
	cert, key := w.ca.issue(w.t, "localhost")
	writeFile(w.t, w.dir, "acme/tls.crt", cert)
	writeFile(w.t, w.dir, "acme/tls.key", key)
	settings := map[string]any{"listenAddress": listen, "managementListenAddress": management,
		"certificate": w.dir + "/acme/tls.crt", "privateKey": w.dir + "/acme/tls.key",
		"httpPort": json.Number(portOf(a.http)), "tlsPort": json.Number(portOf(a.public)),
		"keyAlgorithm": "ecdsa", "retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles": map[string]any{"default": map[string]any{"description": "the only one", "validityPeriod": lifetime}}}
	if change != nil {
		change(settings)
	}
	text, err := json.Marshal(map[string]any{"pebble": settings})
	if err != nil {
		w.t.Fatal(err)
	}
	writeFile(w.t, w.dir, "acme/pebble.json", text)
	a.run(resolver, "-dnsserver", dns, "-management", freeAddr(w.t), "-defaultIPv6", "", "-doh", "", "-http01", "", "-https01", "", "-tlsalpn01", "")
	a.run(server, "-config", w.dir+"/acme/pebble.json", "-dnsserver", dns)
	a.roots = a.fetchRoots("https://"+management+"/roots/0", w.ca)
	return a
}

// run runs a program until the test ends.
func (a *acmeAuthority) run(path string, args ...string) {
	a.t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = a, a
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0")
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if a.t.Failed() {
			a.t.Logf("output of the ACME server:\n%s", a.out.String())
		}
	})
}

// fetchRoots waits for the server, and returns the root certificates of those that it issues.
func (a *acmeAuthority) fetchRoots(url string, ca *authority) *x509.CertPool {
	a.t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.pool}}, Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); ; {
		if resp, err := client.Get(url); err == nil {
			pem, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			pool := x509.NewCertPool()
			if pool.AppendCertsFromPEM(pem) {
				return pool
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			a.t.Fatal("the ACME server does not respond")
		}
	}
}

// configureACME configures a as the source of certificates.
func (w *world) configureACME(a *acmeAuthority, listen, more string) {
	w.t.Helper()
	w.rewrite("listen: {public: 127.0.0.1:0, ", "listen: {"+listen+", ")
	w.rewrite("ops: 127.0.0.1:0}", "ops: "+freeAddr(w.t)+"}") // so that the doctor knows the port
	w.rewrite("tls: {cert_file: tls.crt, key_file: tls.key}",
		fmt.Sprintf("tls: {acme: {accept_terms: true, email: ops@example.com, directory_url: %q, ca_file: ca.pem%s}}", a.directory, more))
}

// handshake returns the certificate that the listener at addr presents for name to a client that offers protocols.
func (a *acmeAuthority) handshake(addr, name string, protocols ...string) (*x509.Certificate, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 20 * time.Second}, "tcp", addr, &tls.Config{ServerName: name, RootCAs: a.roots, NextProtos: protocols})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

// demandNoOrder connects with names that are not configured, and demands that handshakes fail and cause no order.
func (a *acmeAuthority) demandNoOrder(t *testing.T, addr string) {
	t.Helper()
	before := a.orderCount()
	for _, name := range []string{"stranger.test", "www." + appHost, "127.0.0.1", "localhost"} {
		for _, protocols := range [][]string{nil, {"h2"}, {"acme-tls/1"}} {
			if _, err := a.handshake(addr, name, protocols...); err == nil || !strings.Contains(err.Error(), "remote error: tls") {
				t.Errorf("%s, offering %v, gets %v", name, protocols, err)
			}
		}
	}
	if _, err := a.handshake(addr, appHost, "acme-tls/1"); err == nil {
		t.Error("there is no challenge, but the handshake succeeds")
	}
	if n := a.orderCount() - before; n != 0 {
		t.Errorf("handshakes for other names cause %d orders", n)
	}
}

// TestACME_IssuesForConfiguredHosts: only configured hosts get certificates, on both listeners; certificates survive a
// restart; a host that is added gets one soon.
func TestACME_IssuesForConfiguredHosts(t *testing.T) {
	w := newWorld(t)
	a := w.newACMEAuthority(90*24*3600, nil)
	w.configureACME(a, "public: "+a.public, "")
	s := w.start("--init")
	await(t, s, "sallyport_tls_hosts_without_certificate 0\n")
	got := map[string]*x509.Certificate{}
	for _, host := range []string{loginHost, appHost, apiHost} {
		for _, name := range []string{"public", "scim"} {
			cert, err := a.handshake(s.addrs[name], host)
			if err != nil {
				t.Fatalf("%s on the %s listener: %v", host, name, err)
			}
			got[host] = cert
		}
	}
	if n := a.orderCount(); n != 3 {
		t.Errorf("three certificates took %d orders", n)
	}
	await(t, s, fmt.Sprintf("sallyport_tls_certificate_expiry_timestamp_seconds %v\n", float64(earliest(got).Unix())))
	a.demandNoOrder(t, s.addrs["public"])
	if out, _ := s.try("doctor", "-o", "csv"); !strings.Contains(out, "certificate,ok,valid until ") {
		t.Errorf("the doctor reports\n%s", out)
	}

	s.kill()
	s = w.start()
	await(t, s, "sallyport_tls_hosts_without_certificate 0\n")
	for host, cert := range got {
		if again, err := a.handshake(s.addrs["public"], host); err != nil || !again.Equal(cert) {
			t.Errorf("after a restart %s has another certificate: %v", host, err)
		}
	}
	if n := a.orderCount(); n != 3 {
		t.Errorf("a restart took %d orders", n-3)
	}

	w.rewrite("host: "+apiHost, "host: new.test")
	s.verb("reload")
	await(t, s, "sallyport_tls_hosts_without_certificate 0\n")
	if _, err := a.handshake(s.addrs["public"], "new.test"); err != nil {
		t.Errorf("a new host: %v", err)
	}
	if _, err := a.handshake(s.addrs["public"], apiHost); err == nil {
		t.Error("a host that is no longer configured still has a certificate")
	}
	if log := s.log(); strings.Contains(log, "PRIVATE") {
		t.Errorf("a key is in the log:\n%s", log)
	}
	s.kill()
	verb(t, w.dir, "store", "check")
}

// TestACME_BeginsByReload: a reload changes from files to an authority, which validates hosts on a listener that is new too.
// Until a host has its certificate, clients get the former one; no handshake fails.
func TestACME_BeginsByReload(t *testing.T) {
	w := newWorld(t)
	a := w.newACMEAuthority(90*24*3600, nil)
	s := w.start("--init")
	listen := "public: " + s.addrs["public"] + ", http: " + a.http
	w.configureACME(a, listen, "")
	s.addrs["ops"] = ""
	s.verb("reload")
	s.addrs["ops"] = readRunFile(w.dir + "/data/sallyport.db.run").Ops
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		certificateAt(t, s.addrs["public"], appHost) // fails if there is none
		if _, err := a.handshake(s.addrs["public"], appHost); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("no certificate of the authority: %v\n%s", err, s.log())
		}
	}
	await(t, s, "sallyport_tls_hosts_without_certificate 0\n")
	a.demandNoOrder(t, s.addrs["public"])
}

func earliest(certs map[string]*x509.Certificate) (first time.Time) {
	for _, c := range certs {
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}

// TestACME_HTTPChallenge: if the authority cannot reach the public listener, it validates hosts by HTTP-01, with external
// account binding; the same listener redirects browsers.
func TestACME_HTTPChallenge(t *testing.T) {
	const secret = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	w := newWorld(t)
	a := w.newACMEAuthority(90*24*3600, func(settings map[string]any) {
		settings["externalAccountBindingRequired"], settings["externalAccountMACKeys"] = true, map[string]string{"key-1": secret}
	})
	writeFile(t, w.dir, "secrets/eab", []byte(secret+"\n"))
	w.configureACME(a, "public: 127.0.0.1:0, http: "+a.http, ", eab: {key_id: key-1, key_file: secrets/eab}")
	s := w.start("--init")
	await(t, s, "sallyport_tls_hosts_without_certificate 0\n")
	if _, err := a.handshake(s.addrs["public"], appHost); err != nil {
		t.Error(err)
	}
	a.demandNoOrder(t, s.addrs["public"])
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	for target, want := range map[string]string{"/x?y": "308 https://app.test/x?y", "/.well-known/acme-challenge/nothing": "404 ",
		"/.well-known/acme-challenge/acme_account+key": "404 ", "/.well-known/acme-challenge/" + appHost: "404 "} {
		req, err := http.NewRequest(http.MethodGet, "http://"+s.addrs["http"]+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = appHost
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if got := resp.Status[:4] + resp.Header.Get("Location"); got != want {
			t.Errorf("%s gives %q, want %q", target, got, want)
		}
	}
	if log := s.log() + scrape(t, s); strings.Contains(log, secret) || strings.Contains(log, "PRIVATE") {
		t.Errorf("a key is in the log:\n%s", log)
	}
}

// TestACME_FailedOrderIsNotRepeated: handshakes and reloads do not repeat a failed order at once, and without a
// certificate no handshake succeeds.
func TestACME_FailedOrderIsNotRepeated(t *testing.T) {
	w := newWorld(t)
	a := w.newACMEAuthority(90*24*3600, nil)
	w.configureACME(a, "public: 127.0.0.1:0", "") // a port that the authority does not validate
	s := w.start("--init")
	await(t, s, "sallyport_tls_orders_failed_total 3\n")
	await(t, s, "sallyport_tls_hosts_without_certificate 3\n")
	before := a.orderCount()
	for range 20 {
		if _, err := a.handshake(s.addrs["public"], appHost); err == nil || !strings.Contains(err.Error(), "remote error: tls") {
			t.Errorf("without a certificate the handshake gives %v", err)
		}
	}
	if out, code := s.try("doctor", "-o", "csv"); code != exitDenied || !strings.Contains(out, "certificate,fail,3 hosts have none") {
		t.Errorf("the doctor reports\n%s", out)
	}
	s.verb("reload")
	if n := a.orderCount() - before; n != 0 {
		t.Errorf("%d more orders", n)
	}
	awaitLog(t, s, "no certificate for a host")
	awaitLog(t, s, `"retry":"`)
	resp, err := http.Get("http://" + s.addrs["public"] + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest { // net/http: "Client sent an HTTP request to an HTTPS server."
		t.Errorf("without TLS the response is %s", resp.Status)
	}
}

// TestACME_RenewsCertificates: a certificate is renewed before it expires, and put into use.
func TestACME_RenewsCertificates(t *testing.T) {
	w := newWorld(t)
	a := w.newACMEAuthority(30, nil)
	w.configureACME(a, "public: "+a.public, "")
	s := w.start("--init")
	await(t, s, "sallyport_tls_hosts_without_certificate 0\n")
	old, err := a.handshake(s.addrs["public"], appHost)
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); a.logged("Issued certificate serial") < 6; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("no certificate is renewed")
		}
	}
	for deadline := time.After(time.Minute); ; {
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil { // makes it look for renewed certificates now rather than within 15 seconds
			t.Fatal(err)
		}
		if next, err := a.handshake(s.addrs["public"], appHost); err == nil && !next.Equal(old) && next.NotAfter.After(old.NotAfter) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the renewed certificate is not presented")
		}
	}
}
