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

// balancerAddress is where balancers connect to us from; browsers come from 127.0.0.1.
const balancerAddress = "127.0.0.2"

// balancer is a load balancer that lets TCP through to backend and says whose it is. It
// returns its own address.
type balancer func(w *world, backend string) string

// homemade announces by a version's text or bytes.
func homemade(announce func(client *net.TCPAddr) string) balancer {
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
				go letThrough(client, backend, announce(client.RemoteAddr().(*net.TCPAddr)))
			}
		}()
		return l.Addr().String()
	}
}

func letThrough(client net.Conn, backend, announcement string) {
	defer client.Close()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(balancerAddress)}}
	server, err := d.Dial("tcp", backend)
	if err != nil {
		return
	}
	defer server.Close()
	_, _ = io.WriteString(server, announcement)
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(client, server)
}

func version1(client *net.TCPAddr) string {
	return fmt.Sprintf("PROXY TCP4 %s 127.0.0.1 %d 443\r\n", client.IP, client.Port)
}

func version2(client *net.TCPAddr) string {
	return v2(0x21, 0x11, append(append([]byte{}, client.IP.To4()...), 127, 0, 0, 1, byte(client.Port>>8), byte(client.Port), 1, 0xbb)...)
}

// haproxy runs a real one, which announces as option says, and looks whether we are well.
func haproxy(option string) balancer {
	return func(w *world, backend string) string {
		program := os.Getenv("HAPROXY")
		if program == "" {
			w.t.Skip("HAPROXY does not name one; ./test.sh tls finds it")
		}
		listen := free(w.t)
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
			t.Fatalf("nobody listens on %s", addr)
		}
	}
}

// TestBehindABalancer that speaks the PROXY protocol: everything works as without, the
// client's address is the one announced, nobody else's word counts for it, and all that is
// open is cut as ever.
func TestBehindABalancer(t *testing.T) {
	for name, front := range map[string]balancer{"version 1": homemade(version1), "version 2": homemade(version2),
		"HAProxy, version 1": haproxy("send-proxy"), "HAProxy, version 2": haproxy("send-proxy-v2 proxy-v2-options ssl,unique-id")} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.rewrite("ops: 127.0.0.1:0}", "ops: 127.0.0.1:0, proxy_protocol: [public, scim]}\ntrusted_proxies: ["+balancerAddress+"]")
			server := w.start("--init")
			bare := server.addrs["public"]
			for _, door := range []string{"public", "scim"} {
				server.addrs[door] = front(w, server.addrs[door])
			}
			s := w.settle(server)
			if got := s.whereFrom(t); got != "[127.0.0.1] [https]\n" {
				t.Errorf("the upstream hears that the client is %s", got)
			}
			lives := s.openAll(t)
			s.push.setActive(s.alice, "False")
			s.demandCut(t, lives, http.StatusForbidden)
			for _, reason := range []string{unannounced, malformed, untrusted} {
				await(t, server, fmt.Sprintf("sallyport_proxy_protocol_refused_total{reason=%q} 0\n", reason))
			}
			refusedFrom(t, bare, balancerAddress, "")
			await(t, server, `sallyport_proxy_protocol_refused_total{reason="unannounced"} 1`+"\n")
			refusedFrom(t, bare, "127.0.0.1", version1(&net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 1}))
			await(t, server, `sallyport_proxy_protocol_refused_total{reason="untrusted"} 1`+"\n")
		})
	}
}

// whereFrom is what the upstream hears of the client's address, which claims another.
func (s *stage) whereFrom(t *testing.T) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "https://"+appHost+"/where", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", "192.0.2.66")
	resp, err := s.her.client.Do(req)
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

// refusedFrom connects from an address, says something that is no announcement of that
// address's to make, and demands that the connection is closed.
func refusedFrom(t *testing.T, addr, from, said string) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, said+strings.Repeat("x", shortestAnnouncement))
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes come back", n)
	}
}

// TestTrustedProxiesFollowReloads: whoever is trusted from now on must announce, on its
// next connection.
func TestTrustedProxiesFollowReloads(t *testing.T) {
	w := newWorld(t)
	w.rewrite("ops: 127.0.0.1:0}", "ops: 127.0.0.1:0, proxy_protocol: [public]}\ntrusted_proxies: [192.0.2.1]")
	s := w.start("--init")
	announcement := version1(&net.TCPAddr{IP: net.ParseIP("192.0.2.7"), Port: 1})
	refusedFrom(t, s.addrs["public"], balancerAddress, announcement)
	await(t, s, `sallyport_proxy_protocol_refused_total{reason="untrusted"} 1`+"\n")
	w.rewrite("trusted_proxies: [192.0.2.1]", "trusted_proxies: ["+balancerAddress+"]")
	s.verb("reload")
	refusedFrom(t, s.addrs["public"], balancerAddress, "")
	await(t, s, `sallyport_proxy_protocol_refused_total{reason="unannounced"} 1`+"\n")
	if out, code := s.try("validate"); code != exitOK {
		t.Errorf("the file is not sound: %s", out)
	}
}
