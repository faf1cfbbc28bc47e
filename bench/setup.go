package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Names of the subjects that the others are compared with.
const (
	stockName   = "stock ReverseProxy"
	nginxName   = "nginx"
	nginxH2Name = "nginx, TLS h2"
)

// setup is everything that runs during the comparison.
type setup struct {
	dir      string
	upstream string // address
	subjects []subject
	running  []*exec.Cmd
	issuer   *httptest.Server
}

func newSetup(ctx context.Context) (s *setup, err error) {
	s = &setup{}
	if s.dir, err = os.MkdirTemp("", "sallyport-bench-"); err != nil {
		return s, err
	}
	if err := writeCertificate(s.dir); err != nil {
		return s, err
	}
	addr, _, err := s.child(ctx, "upstream")
	if err != nil {
		return s, err
	}
	s.upstream = addr
	s.subjects = append(s.subjects, subject{name: "the upstream itself", url: "http://" + addr})
	addr, pid, err := s.child(ctx, "stock", addr)
	if err != nil {
		return s, err
	}
	s.subjects = append(s.subjects, subject{name: stockName, url: "http://" + addr, pid: pid})
	return s, errors.Join(s.addNginx(ctx), s.addSallyport(ctx))
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

const roleVariable = "SALLYPORT_BENCH_ROLE"

// child starts this program again in a role, and returns the address that it prints.
func (s *setup) child(ctx context.Context, role ...string) (addr string, pid int, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", 0, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), roleVariable+"="+strings.Join(role, " "))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", 0, err
	}
	if err := cmd.Start(); err != nil {
		return "", 0, err
	}
	s.running = append(s.running, cmd)
	addr, err = bufio.NewReader(out).ReadString('\n')
	return strings.TrimSpace(addr), cmd.Process.Pid, err
}

// addNginx starts nginx as a plain proxy, over HTTP and over TLS, if it is installed.
func (s *setup) addNginx(ctx context.Context) error {
	path, err := exec.LookPath("nginx")
	if err != nil {
		return nil
	}
	plain, secure, err := freeAddresses()
	if err != nil {
		return err
	}
	file := filepath.Join(s.dir, "nginx.conf")
	config := fmt.Sprintf(`daemon off; worker_processes auto; pid %[1]s/nginx.pid; error_log %[1]s/nginx.log;
events { worker_connections 1024; }
http {
	access_log off;
	upstream behind { server %[2]s; keepalive 64; }
	server {
		listen %[3]s;
		listen %[4]s ssl http2;
		ssl_certificate %[1]s/tls.crt; ssl_certificate_key %[1]s/tls.key;
		keepalive_requests 1000000000;
		location / { proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; }
	}
}
`, s.dir, s.upstream, plain, secure)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, "-c", file, "-e", filepath.Join(s.dir, "nginx.log"))
	if err := cmd.Start(); err != nil {
		return err
	}
	s.running = append(s.running, cmd)
	s.subjects = append(s.subjects, subject{name: nginxName, url: "http://" + plain, pid: cmd.Process.Pid},
		subject{name: nginxH2Name, url: "https://" + secure, pid: cmd.Process.Pid, h2: true})
	return awaitListeners(plain, secure)
}

// awaitListeners waits until all addresses accept connections.
func awaitListeners(addresses ...string) error {
	for _, address := range addresses {
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			conn, err := net.Dial("tcp", address)
			if err == nil {
				_ = conn.Close()
				break
			}
			if time.Now().After(deadline) {
				return err
			}
		}
	}
	return nil
}

func freeAddresses() (first, second string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer l.Close()
	m, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer m.Close()
	return l.Addr().String(), m.Addr().String(), nil
}

// serveRole is the main function of a child: it serves until it is interrupted.
func serveRole(role string) error {
	name, upstream, _ := strings.Cut(role, " ")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	switch name {
	case "upstream":
		return http.Serve(l, http.HandlerFunc(serveKiB))
	case "streams":
		server := http.Server{Handler: http.HandlerFunc(serveStreams), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 10_000}, Protocols: new(http.Protocols)}
		server.Protocols.SetHTTP1(true)
		server.Protocols.SetUnencryptedHTTP2(true)
		return server.Serve(l)
	}
	return http.Serve(l, newStock(upstream))
}

var kib = bytes.Repeat([]byte("sallyport bench "), 64)

func serveKiB(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write(kib)
}
