package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// openRoute is a route that lets anyone in.
const openRoute = `  - name: open
    host: ` + appHost + `
    path: /upload
    upstream: %s
    policy: [open]
`

// TestConnections_SlowClientsYield: clients that send one byte of a body to an anonymous route, three times as
// many as there may be connections, and others that never finish the TLS handshake, from one address or many, keep
// nobody out: not a person with a WebSocket, nor one who signs in, nor the identity provider.
func TestConnections_SlowClientsYield(t *testing.T) {
	const total = 40
	for _, addresses := range []int{1, 60} {
		t.Run(fmt.Sprintf("from %d addresses", addresses), func(t *testing.T) {
			w := newWorld(t)
			w.rewrite("policies:\n", fmt.Sprintf("limits: {connections: %d}\npolicies:\n  - {name: open, rules: [{allow: {anyone: true}}]}\n", total))
			w.rewrite("routes:\n", "routes:\n"+fmt.Sprintf(openRoute, w.upstream.URL))
			s := w.settle(w.start("--init"))
			socket, _, err := websocket.Dial(t.Context(), "wss://"+appHost+"/socket", &websocket.DialOptions{HTTPClient: s.browser.client})
			if err != nil {
				t.Fatal(err)
			}
			defer socket.CloseNow()
			for i := range 3 * total {
				d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i%addresses+1))}}
				raw, err := d.Dial("tcp", s.server.addrs["public"])
				if err != nil {
					t.Fatal(err)
				}
				defer raw.Close()
				if i%3 == 2 {
					_, _ = io.WriteString(raw, "\x16\x03\x01\x02\x00")
					continue
				}
				conn := tls.Client(raw, &tls.Config{RootCAs: w.ca.pool, ServerName: appHost})
				if _, err := io.WriteString(conn, "POST /upload HTTP/1.1\r\nHost: "+appHost+"\r\nContent-Length: 100000\r\n\r\nx"); err != nil {
					t.Fatal(err)
				}
			}
			w.newBrowser(s.server).signIn()
			s.push.setActive(s.alice, "True")
			if err := socket.Write(t.Context(), websocket.MessageText, []byte("still there?")); err != nil {
				t.Fatal(err)
			}
			if _, data, err := socket.Read(t.Context()); err != nil || string(data) != "still there?" {
				t.Errorf("the WebSocket of a person who is signed in ends: %q, %v", data, err)
			}
			await(t, s.server, fmt.Sprintf("sallyport_connections_limit{listener=\"public\"} %d\n", total))
		})
	}
}

// TestConnections_SCIMSlowClientsYield: clients that hold connections to the SCIM listener keep no push out, and end none
// that is under way.
func TestConnections_SCIMSlowClientsYield(t *testing.T) {
	s := newStage(t)
	push, err := tls.Dial("tcp", s.server.addrs["scim"], &tls.Config{RootCAs: s.ca.pool, ServerName: loginHost})
	if err != nil {
		t.Fatal(err)
	}
	defer push.Close()
	const body = `{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "bob"}`
	fmt.Fprintf(push, "POST /scim/v2/Users HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/scim+json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
		loginHost, s.push.token, len(body))
	received := bufio.NewReader(push)
	if line, err := received.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatal(line, err)
	}
	for range scimConnections + 50 {
		conn, err := net.Dial("tcp", s.server.addrs["scim"])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "\x16\x03\x01\x02\x00")
	}
	s.push.client.CloseIdleConnections()
	s.push.setActive(s.alice, "True")
	_, _ = io.WriteString(push, body)
	_, _ = received.ReadString('\n')
	if resp, err := http.ReadResponse(received, nil); err != nil || resp.StatusCode != http.StatusCreated {
		t.Errorf("the push that was under way gets %v, %v", resp, err)
	}
}
