package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// balancerAddress is the address from which balancers connect to the server; browsers connect from 127.0.0.1.
const balancerAddress = "127.0.0.2"

// balancer starts a load balancer that forwards TCP connections to backend and names the client by the PROXY protocol.
// It returns the balancer's own address.
type balancer func(w *world, backend string) string

// testBalancer returns a balancer that sends the header that makeHeader returns for a client.
func testBalancer(makeHeader func(client *net.TCPAddr) string) balancer {
	return func(w *world, backend string) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				client, err := l.Accept()
				if err != nil {
					return
				}
				go forward(client, backend, makeHeader(client.RemoteAddr().(*net.TCPAddr)))
			}
		}()
		return l.Addr().String()
	}
}

func forward(client net.Conn, backend, header string) {
	defer client.Close()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(balancerAddress)}}
	server, err := d.Dial("tcp", backend)
	if err != nil {
		return
	}
	defer server.Close()
	_, _ = io.WriteString(server, header)
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(client, server)
}

func headerV1(client *net.TCPAddr) string {
	return fmt.Sprintf("PROXY TCP4 %s 127.0.0.1 %d 443\r\n", client.IP, client.Port)
}

func headerV2(client *net.TCPAddr) string {
	addresses := append(append([]byte{}, client.IP.To4()...), 127, 0, 0, 1, byte(client.Port>>8), byte(client.Port), 1, 0xbb)
	return "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + string(addresses)
}

// haproxy returns a balancer that is a real HAProxy; option selects the version. It also checks the health of the server.
func haproxy(option string) balancer {
	return func(w *world, backend string) string {
		program := os.Getenv("HAPROXY")
		if program == "" {
			w.t.Skip("HAPROXY does not name the program; ./test.sh tls sets it")
		}
		listen := freeAddr(w.t)
		file := fmt.Sprintf("haproxy-%s.cfg", portOf(listen))
		writeFile(w.t, w.dir, file, fmt.Appendf(nil, `defaults
  mode tcp
  timeout connect 5s
  timeout client 1m
  timeout server 1m
listen front
  bind %s
  source %s
  server sallyport %s %s check inter 100ms
`, listen, balancerAddress, backend, option))
		cmd := exec.Command(program, "-db", "-f", w.dir+"/"+file)
		if err := cmd.Start(); err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		awaitListener(w.t, listen)
		return listen
	}
}

func awaitListener(t testing.TB, addr string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); ; {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("nothing listens on %s", addr)
		}
	}
}

// TestBalancer_PROXYProtocol: behind a balancer that speaks the PROXY protocol, everything works as without one; the
// client's address is the one in the header; no other peer may send a header; live requests are cut as usual.
func TestBalancer_PROXYProtocol(t *testing.T) {
	for name, start := range map[string]balancer{"version 1": testBalancer(headerV1), "version 2": testBalancer(headerV2),
		"HAProxy, version 1": haproxy("send-proxy"), "HAProxy, version 2": haproxy("send-proxy-v2 proxy-v2-options ssl,unique-id")} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.rewrite("ops: 127.0.0.1:0}", "ops: 127.0.0.1:0, proxy_protocol: [public, scim]}\ntrusted_proxies: ["+balancerAddress+"]")
			server := w.start("--init")
			direct := server.addrs["public"]
			for _, name := range []string{"public", "scim"} {
				server.addrs[name] = start(w, server.addrs[name])
			}
			s := w.settle(server)
			if got := s.clientAddress(t); got != "[127.0.0.1] [https]\n" {
				t.Errorf("the upstream sees the client address %s", got)
			}
			requests := s.openAll(t)
			s.push.setActive(s.alice, "False")
			s.demandCut(t, requests, http.StatusForbidden)
			for _, reason := range []string{"unannounced", "malformed", "untrusted"} {
				await(t, server, fmt.Sprintf("sallyport_proxy_protocol_refused_total{reason=%q} 0\n", reason))
			}
			demandRejected(t, direct, balancerAddress, "")
			await(t, server, `sallyport_proxy_protocol_refused_total{reason="unannounced"} 1`+"\n")
			demandRejected(t, direct, "127.0.0.1", headerV1(&net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 1}))
			await(t, server, `sallyport_proxy_protocol_refused_total{reason="untrusted"} 1`+"\n")
		})
	}
}

// clientAddress returns the client address and scheme that the upstream sees for a request that claims another address.
func (s *stage) clientAddress(t *testing.T) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "https://"+appHost+"/where", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", "192.0.2.66")
	resp, err := s.browser.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// demandRejected connects to addr from an address that must not send header, sends it and more, and demands that the
// connection is closed.
func demandRejected(t *testing.T, addr, from, header string) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, header+strings.Repeat("x", 12)) // no header is shorter
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes come back", n)
	}
}

// TestBalancer_TrustedProxiesFollowReload: a proxy that becomes trusted must send a header on its next connection.
func TestBalancer_TrustedProxiesFollowReload(t *testing.T) {
	w := newWorld(t)
	w.rewrite("ops: 127.0.0.1:0}", "ops: 127.0.0.1:0, proxy_protocol: [public]}\ntrusted_proxies: [192.0.2.1]")
	s := w.start("--init")
	header := headerV1(&net.TCPAddr{IP: net.ParseIP("192.0.2.7"), Port: 1})
	demandRejected(t, s.addrs["public"], balancerAddress, header)
	await(t, s, `sallyport_proxy_protocol_refused_total{reason="untrusted"} 1`+"\n")
	w.rewrite("trusted_proxies: [192.0.2.1]", "trusted_proxies: ["+balancerAddress+"]")
	s.verb("reload")
	demandRejected(t, s.addrs["public"], balancerAddress, "")
	await(t, s, `sallyport_proxy_protocol_refused_total{reason="unannounced"} 1`+"\n")
	if out, code := s.try("validate"); code != exitOK {
		t.Errorf("validate rejects the file: %s", out)
	}
}
