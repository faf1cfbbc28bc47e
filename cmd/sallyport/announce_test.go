package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// v2 is an announcement of version 2: command and version, family and protocol, and
// what follows.
func v2(command, family byte, rest ...byte) string {
	return string(signature2) + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + string(rest)
}

// client4 and client6 are 203.0.113.7:4711 and [2001:db8::7]:4711 on their way to us.
var (
	client4 = []byte{203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb}
	client6 = append(append(netip.MustParseAddr("2001:db8::7").AsSlice(), netip.MustParseAddr("2001:db8::1").AsSlice()...), 0x12, 0x67, 0x01, 0xbb)
)

var announcementCases = []struct {
	name, said string
	client     string // as the server sees it; "peer" is the peer itself
	reason     string // of a refusal
}{
	{"version 1", "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "203.0.113.7:4711", ""},
	{"version 1 by IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", "[2001:db8::7]:4711", ""},
	{"version 1, unknown", "PROXY UNKNOWN\r\n", "0.0.0.0:0", ""},
	{"version 1, unknown with addresses", "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", "0.0.0.0:0", ""},
	{"version 2", v2(0x21, 0x11, client4...), "203.0.113.7:4711", ""},
	{"version 2 by IPv6", v2(0x21, 0x21, client6...), "[2001:db8::7]:4711", ""},
	{"version 2 with more said", v2(0x21, 0x11, append(client4[:12:12], 0x03, 0, 4, 1, 2, 3, 4, 0xee, 0, 1, 9)...), "203.0.113.7:4711", ""},
	{"version 2 with nonsense after the addresses", v2(0x21, 0x11, append(client4[:12:12], 0xff, 0xff, 0xff)...), "203.0.113.7:4711", ""},
	{"version 2, the proxy itself", v2(0x20, 0x00), "peer", ""},
	{"version 2, the proxy itself with addresses", v2(0x20, 0x11, client4...), "peer", ""},
	{"version 2, the proxy itself with more said", v2(0x20, 0x00, 0x04, 0, 2, 0, 0), "peer", ""},

	{"nothing announced", "", "", unannounced},
	{"lower case", "proxy TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "", unannounced},
	{"a space before", " PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "", unannounced},
	{"half a signature", string(signature2[:11]), "", unannounced},
	{"no carriage return", "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\n", "", malformed},
	{"no such family", "PROXY TCP5 203.0.113.7 10.0.0.1 4711 443\r\n", "", malformed},
	{"the wrong family", "PROXY TCP4 2001:db8::7 10.0.0.1 4711 443\r\n", "", malformed},
	{"a name for an address", "PROXY TCP4 localhost 10.0.0.1 4711 443\r\n", "", malformed},
	{"leading zeros", "PROXY TCP4 203.000.113.007 10.0.0.1 4711 443\r\n", "", malformed},
	{"a port too large", "PROXY TCP4 203.0.113.7 10.0.0.1 65536 443\r\n", "", malformed},
	{"two spaces", "PROXY  TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "", malformed},
	{"one word more", "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443 x\r\n", "", malformed},
	{"a line too long", "PROXY UNKNOWN " + strings.Repeat("x", 100) + "\r\n", "", malformed},
	{"a line without end", "PROXY TCP4 " + strings.Repeat("1", 200), "", malformed},
	{"version 3", v2(0x31, 0x11, client4...), "", malformed},
	{"no such command", v2(0x22, 0x11, client4...), "", malformed},
	{"no such family, version 2", v2(0x21, 0x41, client4...), "", malformed},
	{"no such transport", v2(0x21, 0x13, client4...), "", malformed},
	{"too short for its family", v2(0x21, 0x21, client4...), "", malformed},
	{"of nobody", v2(0x21, 0x00), "", malformed},
	{"by datagrams", v2(0x21, 0x12, client4...), "", malformed},
	{"by a Unix socket", v2(0x21, 0x31, make([]byte, 216)...), "", malformed},
	{"longer than is read", v2(0x21, 0x11, append(client4[:12:12], make([]byte, 5000)...)...), "", malformed},
}

// hall is an open door on which 127.0.0.1 is, or is not, a trusted proxy; it answers with
// the address it sees.
type hall struct {
	*announcements
	addr string
}

func newHall(t testing.TB, trusts bool, secure *tls.Config) *hall {
	t.Helper()
	a := newAnnouncements(func(peer netip.Addr) bool { return trusts && peer == netip.MustParseAddr("127.0.0.1") }, slog.New(slog.DiscardHandler))
	d := newDoor("hall", limited(func() (net.Listener, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		return a.listener(l), err
	}, 100), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RemoteAddr) }), secure, slog.New(slog.DiscardHandler))
	if err := d.open(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- d.serve() }()
	t.Cleanup(func() {
		_ = d.server.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return &hall{a, d.listener.Addr().String()}
}

func (h *hall) dial(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

const question = "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n"

// answer is the address the server sees; an error if it has closed the connection.
func answer(conn net.Conn) (string, error) {
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(resp.Status)
	}
	return string(body), err
}

func (h *hall) count(reason string) float64 {
	return testutil.ToFloat64(h.refused.WithLabelValues(reason))
}

// TestATrustedProxySaysWhoIsCalling, in every way of either version, and nothing that is
// none of them is believed. It may come in pieces.
func TestATrustedProxySaysWhoIsCalling(t *testing.T) {
	h := newHall(t, true, nil)
	for _, c := range announcementCases {
		for _, piece := range []int{1 << 20, 1, 7} {
			before := h.count(c.reason)
			conn := h.dial(t)
			want := c.client
			if want == "peer" {
				want = conn.LocalAddr().String()
			}
			for part := []byte(c.said + question); len(part) > 0; part = part[min(piece, len(part)):] {
				if _, err := conn.Write(part[:min(piece, len(part))]); err != nil {
					break // refused before all was said
				}
			}
			switch got, err := answer(conn); {
			case c.reason == "" && (err != nil || got != want):
				t.Errorf("%s, %d bytes at once: the server sees %q, %v; want %s", c.name, piece, got, err, want)
			case c.reason != "" && err == nil:
				t.Errorf("%s, %d bytes at once: the server answers and sees %q", c.name, piece, got)
			case c.reason != "" && h.count(c.reason) != before+1:
				t.Errorf("%s, %d bytes at once: not refused as %s", c.name, piece, c.reason)
			}
		}
	}
}

// TestNobodyElseSaysWhoIsCalling: who is not believed is refused for saying it, and served
// as ever for not saying it.
func TestNobodyElseSaysWhoIsCalling(t *testing.T) {
	h := newHall(t, false, nil)
	for _, c := range announcementCases {
		if c.reason == unannounced {
			continue
		}
		before := h.count(untrusted)
		conn := h.dial(t)
		_, _ = io.WriteString(conn, c.said+question)
		if got, err := answer(conn); err == nil || h.count(untrusted) != before+1 {
			t.Errorf("%s: the server sees %q, %v", c.name, got, err)
		}
	}
	conn := h.dial(t)
	_, _ = io.WriteString(conn, question)
	if got, err := answer(conn); err != nil || got != conn.LocalAddr().String() {
		t.Errorf("without: the server sees %q, %v", got, err)
	}
}

// TestAnnouncementsCutShort are refused, wherever they end.
func TestAnnouncementsCutShort(t *testing.T) {
	h := newHall(t, true, nil)
	for _, whole := range []string{"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", v2(0x21, 0x21, client6...)} {
		for n := range len(whole) {
			conn := h.dial(t)
			_, _ = io.WriteString(conn, whole[:n])
			_ = conn.(*net.TCPConn).CloseWrite()
			if left, _ := io.ReadAll(conn); len(left) > 0 {
				t.Errorf("%q is answered with %q", whole[:n], left)
			}
		}
	}
	if h.count(silent) == 0 || h.count(malformed) != 0 || h.count(untrusted) != 0 {
		t.Error("they are not refused as silent")
	}
}

// TestNobodyWaitsForTheSlow: while some say nothing, or not all, others are served; and
// their time runs out.
func TestNobodyWaitsForTheSlow(t *testing.T) {
	h := newHall(t, true, nil)
	for _, said := range []string{"", "PROXY", "PROXY TCP4 203.0.113.7 10.0", v2(0x21, 0x11, client4...)[:20]} {
		conn := h.dial(t)
		_, _ = io.WriteString(conn, said)
	}
	conn := h.dial(t)
	_, _ = io.WriteString(conn, "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n"+question)
	if got, err := answer(conn); err != nil || got != "203.0.113.7:4711" {
		t.Errorf("behind slow ones the server sees %q, %v", got, err)
	}
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		a := newAnnouncements(func(netip.Addr) bool { return true }, slog.New(slog.DiscardHandler))
		var writer sync.WaitGroup
		writer.Go(func() {
			for { // a byte whenever one is taken, and never the last
				if _, err := near.Write([]byte("P")); err != nil {
					return
				}
				time.Sleep(a.within / 4)
			}
		})
		begun := time.Now()
		c := &announced{Conn: far, by: a}
		if _, err := c.Read(make([]byte, 1)); err == nil || time.Since(begun) != a.within {
			t.Errorf("reading ends after %s with %v", time.Since(begun), err)
		}
		if n := testutil.ToFloat64(a.refused.WithLabelValues(silent)); n != 1 {
			t.Errorf("%v are refused as silent", n)
		}
		_ = near.Close()
		writer.Wait()
	})
}

// TestAnnouncedClientsSpeakTLS after the announcement, and can be told that no more comes.
func TestAnnouncedClientsSpeakTLS(t *testing.T) {
	ca := newAuthority(t)
	h := newHall(t, true, &tls.Config{Certificates: []tls.Certificate{ca.pair(t, appHost)}})
	conn := h.dial(t)
	_, _ = io.WriteString(conn, v2(0x21, 0x11, client4...))
	secure := tls.Client(conn, &tls.Config{RootCAs: ca.pool, ServerName: appHost})
	_, _ = io.WriteString(secure, question)
	if got, err := answer(secure); err != nil || got != "203.0.113.7:4711" {
		t.Errorf("over TLS the server sees %q, %v", got, err)
	}
}

func TestAnnouncedClientsCanBeToldThatNoMoreComes(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newCrowd(newAnnouncements(func(netip.Addr) bool { return true }, slog.New(slog.DiscardHandler)).listener(plain), 1)
	defer l.Close()
	client, err := net.Dial("tcp", plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the client reads %v", err)
	}
}

// FuzzAnnouncements: whatever comes, the client hears nothing of what it did not say after
// an announcement, and there is always an address.
func FuzzAnnouncements(f *testing.F) {
	for _, c := range announcementCases {
		f.Add([]byte(c.said+question), true)
		f.Add([]byte(c.said+question), false)
	}
	f.Fuzz(func(t *testing.T, said []byte, trusts bool) {
		near, far := net.Pipe()
		go func() {
			_, _ = near.Write(said)
			_ = near.Close()
		}()
		c := &announced{Conn: far, by: newAnnouncements(func(netip.Addr) bool { return trusts }, slog.New(slog.DiscardHandler))}
		addr := c.RemoteAddr()
		heard, err := io.ReadAll(c)
		_ = c.Close()
		switch {
		case addr == nil || addr.String() == "":
			t.Error("there is no address")
		case c.err != nil && (len(heard) > 0 || c.client != nil):
			t.Errorf("refused, and still %q is heard of %v", heard, c.client)
		case c.err == nil && err != nil:
			t.Errorf("not refused, and not read: %v", err)
		case !bytes.HasSuffix(said, heard):
			t.Errorf("%q is heard", heard)
		case !trusts && (c.client != nil || c.err == nil && len(heard) != len(said)):
			t.Error("somebody untrusted is believed")
		case trusts && c.err == nil && len(heard) == len(said):
			t.Error("nothing was announced, and it was let in")
		}
	})
}
