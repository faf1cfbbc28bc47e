package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/config"
)

// binary returns the path of the real program, which is built once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sallyport-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "sallyport")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building: %w: %s", err, out)
	}
	return path, nil
})

// running is a real sallyport process that serves from folder dir.
type running struct {
	t         testing.TB
	dir       string
	cmd       *exec.Cmd
	addrs     map[string]string // by the name of the listener
	listeners int               // how many there will be
	stderr    *bytes.Buffer
	mu        sync.Mutex // guards stderr
	exited    chan error
}

// start runs `sallyport serve` in dir, and returns when every listener is open.
func start(t testing.TB, dir string, flags ...string) *running {
	t.Helper()
	r, pipe := launch(t, dir, flags...)
	r.awaitListeners(pipe)
	return r
}

// launch runs `sallyport serve` in dir, which logs to the pipe that is returned.
func launch(t testing.TB, dir string, flags ...string) (*running, io.Reader) {
	t.Helper()
	r, pipe := prepare(t, dir, flags...)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.kill)
	return r, pipe
}

// prepare returns what launch will run.
func prepare(t testing.TB, dir string, flags ...string) (*running, io.Reader) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, dir: dir, addrs: map[string]string{}, stderr: new(bytes.Buffer), exited: make(chan error, 1)}
	r.listeners = listenersIn(t, dir) // fails if the configuration has a fault
	r.cmd = exec.Command(path, append([]string{"serve", "-c", filepath.Join(dir, "sallyport.yaml")}, flags...)...)
	pipe, err := r.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, pipe
}

func (r *running) awaitListeners(pipe io.Reader) {
	r.t.Helper()
	if err := r.listens(pipe); err != nil {
		r.t.Fatalf("the server %v\n%s", err, r.log())
	}
}

// listens waits until every listener is open, or returns why that does not happen.
func (r *running) listens(pipe io.Reader) error {
	listening := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(pipe)
		lines.Buffer(nil, 1<<20)
		for complete := false; lines.Scan(); {
			r.mu.Lock()
			r.stderr.WriteString(lines.Text() + "\n")
			r.mu.Unlock()
			var l struct{ Msg, Server, Addr string }
			if !complete && json.Unmarshal(lines.Bytes(), &l) == nil && l.Msg == "listening" { // those of the start
				r.addrs[l.Server] = l.Addr
				if complete = len(r.addrs) == r.listeners; complete {
					close(listening)
				}
			}
		}
		r.exited <- r.cmd.Wait()
	}()
	select {
	case <-listening:
		return nil
	case err := <-r.exited:
		r.exited <- err
		return fmt.Errorf("ended: %w", err)
	case <-time.After(30 * time.Second):
		return errors.New("does not listen")
	}
}

// listenersIn returns how many listeners the configuration in dir opens.
func listenersIn(t testing.TB, dir string) int {
	t.Helper()
	file, err := config.Load(filepath.Join(dir, "sallyport.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if file.Listen.HTTP != "" {
		return 5
	}
	return 4
}

func (r *running) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stderr.String()
}

// kill ends the process at once, as a power failure would.
func (r *running) kill() {
	_ = r.cmd.Process.Kill()
	<-r.exited
	r.exited <- nil
}

// verb runs another verb with the same configuration, and demands that it succeeds.
func (r *running) verb(args ...string) string {
	r.t.Helper()
	return verb(r.t, r.dir, args...)
}

// try runs a verb that may fail, and returns its exit code.
func (r *running) try(args ...string) (out string, code int) {
	r.t.Helper()
	path, err := binary()
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.Command(path, append(args, "-c", filepath.Join(r.dir, "sallyport.yaml"))...)
	data, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return string(data), cmd.ProcessState.ExitCode()
}

func verb(t testing.TB, dir string, args ...string) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append(args, "-c", filepath.Join(dir, "sallyport.yaml"))...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("sallyport %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String()
}

// authority signs certificates that the tests' clients trust.
type authority struct {
	pool *x509.CertPool
	cert *x509.Certificate
	pem  []byte
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"}, IsCA: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{pool, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue returns a certificate for names and its key, as PEM. It is not about to expire.
func (a *authority) issue(t testing.TB, names ...string) (cert, key []byte) {
	t.Helper()
	return a.issueFor(t, 90*24*time.Hour, names...)
}

// issueFor is issue of a certificate that expires after lasting.
func (a *authority) issueFor(t testing.TB, lasting time.Duration, names ...string) (cert, key []byte) {
	t.Helper()
	k := newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lasting),
		DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// pair returns the same as a tls.Certificate, for test servers.
func (a *authority) pair(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	cert, key := a.issue(t, names...)
	p, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// newClient returns a client with a cookie jar. It connects to the addresses in hosts for the names there, and resolves
// other names as usual.
func newClient(t testing.TB, a *authority, hosts map[string]string) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: a.pool},
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if known, ok := hosts[addr]; ok {
				addr = known
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport, Timeout: 0}
}

func writeFile(t testing.TB, dir, name string, content []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
