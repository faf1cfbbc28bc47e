package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sallyport/entratest"
)

// setup is everything that runs during the comparison.
type setup struct {
	dir      string
	upstream string // address
	program  string // of sallyport, once it is built
	running  []*exec.Cmd
	issuer   *httptest.Server
	tenant   *entratest.Tenant
	alice    entratest.Person
}

// newSetup starts what every subject needs: the upstream. It writes the certificate of those that speak TLS.
func newSetup(ctx context.Context) (s *setup, err error) {
	s = &setup{}
	if s.dir, err = os.MkdirTemp("", "sallyport-bench-"); err != nil {
		return s, err
	}
	if err := writeCertificate(s.dir); err != nil {
		return s, err
	}
	upstream, err := s.child(ctx, "upstream")
	s.upstream = upstream.address
	return s, err
}

func (s *setup) close() {
	for _, cmd := range s.running {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	}
	if s.issuer != nil {
		s.issuer.Close()
	}
	_ = os.RemoveAll(s.dir)
}

// command returns a command that the end of ctx interrupts. To kill nginx would leave its workers running.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

const roleVariable = "SALLYPORT_BENCH_ROLE"

// child starts this program again in a role, and returns its addresses, which it prints.
func (s *setup) child(ctx context.Context, role ...string) (target subject, err error) {
	self, err := os.Executable()
	if err != nil {
		return target, err
	}
	cmd := command(ctx, self)
	cmd.Env = append(os.Environ(), roleVariable+"="+strings.Join(role, " "))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return target, err
	}
	if err := cmd.Start(); err != nil {
		return target, err
	}
	s.running = append(s.running, cmd)
	target.pid = cmd.Process.Pid
	var ops string
	_, err = fmt.Fscanln(out, &target.address, &ops)
	target.metrics = "http://" + ops
	return target, err
}

// startNginx starts nginx as a plain proxy, if it is installed.
func startNginx(ctx context.Context, s *setup, r row) (target subject, err error) {
	path, err := exec.LookPath("nginx")
	if err != nil {
		return target, errMissing
	}
	address, err := freeAddress()
	if err != nil {
		return target, err
	}
	name, security := filepath.Join(s.dir, r.key), ""
	if r.transport != plainHTTP1 {
		security = " ssl http2"
	}
	config := fmt.Sprintf(`daemon off; worker_processes auto; pid %[1]s.pid; error_log %[1]s.log;
events { worker_connections 1024; }
http {
	access_log off;
	upstream behind { server %[2]s; keepalive 64; }
	server {
		listen %[3]s%[4]s;
		ssl_certificate %[5]s/tls.crt; ssl_certificate_key %[5]s/tls.key;
		keepalive_requests 1000000000;
		location / { proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; }
	}
}
`, name, s.upstream, address, security, s.dir)
	if err := os.WriteFile(name+".conf", []byte(config), 0o600); err != nil {
		return target, err
	}
	cmd := command(ctx, path, "-c", name+".conf", "-e", name+".log")
	if err := cmd.Start(); err != nil {
		return target, err
	}
	s.running = append(s.running, cmd)
	return subject{address: address, pid: cmd.Process.Pid}, awaitListener(address)
}

// awaitListener waits until the address accepts connections.
func awaitListener(address string) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// startUpstream names the upstream itself, which runs already.
func startUpstream(_ context.Context, s *setup, _ row) (subject, error) {
	return subject{address: s.upstream}, nil
}

// startChild returns a function that starts this program again, as a server of the role.
func startChild(role string) startFunc {
	return func(ctx context.Context, s *setup, r row) (subject, error) {
		words := []string{role, s.upstream}
		if r.transport != plainHTTP1 {
			words = append(words, s.dir)
		}
		return s.child(ctx, words...)
	}
}

func startLean(ctx context.Context, s *setup, r row) (subject, error) {
	target, err := startChild("lean")(ctx, s, r)
	target.header = "Cookie: " + leanCookie + leanToken
	return target, err
}

func startBare(ctx context.Context, s *setup, r row) (subject, error) {
	target, err := startChild("bare")(ctx, s, r)
	target.status = http.StatusUnauthorized
	return target, err
}

// serveRole is the main function of a child: it serves until it is interrupted. The role is its name, the address of the
// upstream, and the folder of a certificate if it is served over TLS.
func serveRole(role string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ops, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(ops, http.HandlerFunc(serveAllocations)) }()
	fmt.Println(l.Addr(), ops.Addr())
	words := append(strings.Fields(role), "", "")
	server := &http.Server{Handler: http.HandlerFunc(serveKiB)}
	switch words[0] {
	case "streams":
		server.Handler = http.HandlerFunc(serveStreams)
		server.HTTP2, server.Protocols = &http.HTTP2Config{MaxConcurrentStreams: 10_000}, new(http.Protocols)
		server.Protocols.SetHTTP1(true)
		server.Protocols.SetUnencryptedHTTP2(true)
	case "stock":
		server.Handler = newStock(words[1])
	case "lean":
		server.Handler = newLean(words[1])
	case "bare":
		server.Handler = http.HandlerFunc(serveUnauthorized)
	}
	if dir := words[2]; dir != "" {
		return server.ServeTLS(l, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	}
	return server.Serve(l)
}

func serveUnauthorized(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
}

var kib = bytes.Repeat([]byte("sallyport bench "), 64)

func serveKiB(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write(kib)
}
