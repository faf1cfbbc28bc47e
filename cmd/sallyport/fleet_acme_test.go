package main

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sallyport/store/postgres/postgrestest"
)

// relayOnceUp forwards each connection to addr to target, once something listens there.
func relayOnceUp(t testing.TB, addr, target string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				server, err := net.Dial("tcp", target)
				for deadline := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(deadline); server, err = net.Dial("tcp", target) {
					time.Sleep(20 * time.Millisecond)
				}
				if err != nil {
					return
				}
				defer server.Close()
				go func() { _, _ = io.Copy(server, client); _ = server.(*net.TCPConn).CloseWrite() }()
				_, _ = io.Copy(client, server)
			}()
		}
	}()
}

// TestReplicas_OneObtainsCertificates has the authority validate hosts at a replica that does not order: the response to the
// challenge is there, and each host takes one order, whoever serves it. When the replica that orders is gone, the other does.
func TestReplicas_OneObtainsCertificates(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	// An order for HTTP-01 comes after one for TLS-ALPN-01 that fails.
	for challenge, each := range map[string]int{"TLS-ALPN-01": 1, "HTTP-01": 2} {
		t.Run(challenge, func(t *testing.T) {
			var a *acmeAuthority
			addrs := freeAddrs(t, 2)
			f := startFleet(t, 2, func(w *world) {
				listen := "public: 127.0.0.1:0"
				switch {
				case a == nil: // the first
					a = w.newACMEAuthority(90*24*3600, nil)
					if challenge == "HTTP-01" {
						listen += ", http: 127.0.0.1:0"
					}
				case challenge == "HTTP-01":
					listen += ", http: " + addrs[0]
					relayOnceUp(t, a.http, addrs[0])
				default:
					listen = "public: " + addrs[1]
					relayOnceUp(t, a.public, addrs[1])
				}
				w.configureACME(a, listen, "")
			})
			first, second := f.replicas[0], f.replicas[1]
			for _, r := range f.replicas {
				await(t, r, "sallyport_tls_hosts_without_certificate 0\n")
			}
			await(t, first, "sallyport_store_leads 1\n")
			await(t, second, "sallyport_store_leads 0\n")
			for _, host := range []string{loginHost, appHost, apiHost} {
				one, err := a.handshake(first.addrs["public"], host)
				if err != nil {
					t.Fatal(err)
				}
				if other, err := a.handshake(second.addrs["public"], host); err != nil || !other.Equal(one) {
					t.Errorf("the replicas have different certificates for %s: %v", host, err)
				}
			}
			if n := a.orderCount(); n != 3*each {
				t.Errorf("three certificates took %d orders", n)
			}
			a.demandNoOrder(t, second.addrs["public"])

			first.kill()
			for _, dir := range []string{first.dir, second.dir} {
				(&world{t: t, dir: dir}).rewrite("host: "+apiHost, "host: new.test")
			}
			second.verb("reload")
			await(t, second, "sallyport_store_leads 1\n")
			second.verb("reload") // has it look at once
			await(t, second, "sallyport_tls_hosts_without_certificate 0\n")
			first = start(t, first.dir)
			await(t, first, "sallyport_tls_hosts_without_certificate 0\n")
			if _, err := a.handshake(first.addrs["public"], "new.test"); err != nil {
				t.Errorf("the replica that came back: %v", err)
			}
			if n := a.orderCount(); n != 4*each {
				t.Errorf("four certificates took %d orders", n)
			}
			if log := first.log() + second.log(); strings.Contains(log, "PRIVATE") {
				t.Errorf("a key is in the log:\n%s", log)
			}
		})
	}
}
