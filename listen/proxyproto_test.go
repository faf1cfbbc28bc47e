package listen

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

// headerV2 returns a header of version 2: command and version, family and protocol, and the rest.
func headerV2(command, family byte, rest ...byte) string {
	return string(signatureV2) + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + string(rest)
}

// client4 and client6 are the addresses of a header from 203.0.113.7:4711 and from [2001:db8::7]:4711.
var (
	client4 = []byte{203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb}
	client6 = append(append(netip.MustParseAddr("2001:db8::7").AsSlice(), netip.MustParseAddr("2001:db8::1").AsSlice()...), 0x12, 0x67, 0x01, 0xbb)
)

var headerCases = []struct {
	name, sent string
	client     string // as the server sees it; "peer" is the peer itself
	reason     string // of a rejection
}{
	{"version 1", "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "203.0.113.7:4711", ""},
	{"version 1 by IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", "[2001:db8::7]:4711", ""},
	{"version 1, unknown", "PROXY UNKNOWN\r\n", "0.0.0.0:0", ""},
	{"version 1, unknown with addresses", "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", "0.0.0.0:0", ""},
	{"version 2", headerV2(0x21, 0x11, client4...), "203.0.113.7:4711", ""},
	{"version 2 by IPv6", headerV2(0x21, 0x21, client6...), "[2001:db8::7]:4711", ""},
	{"version 2 with TLVs", headerV2(0x21, 0x11, append(client4[:12:12], 0x03, 0, 4, 1, 2, 3, 4, 0xee, 0, 1, 9)...), "203.0.113.7:4711", ""},
	{"version 2 with invalid TLVs", headerV2(0x21, 0x11, append(client4[:12:12], 0xff, 0xff, 0xff)...), "203.0.113.7:4711", ""},
	{"version 2, the proxy itself", headerV2(0x20, 0x00), "peer", ""},
	{"version 2, the proxy itself with addresses", headerV2(0x20, 0x11, client4...), "peer", ""},
	{"version 2, the proxy itself with TLVs", headerV2(0x20, 0x00, 0x04, 0, 2, 0, 0), "peer", ""},

	{"no header", "", "", reasonMissing},
	{"lower case", "proxy TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "", reasonMissing},
	{"a space before", " PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "", reasonMissing},
	{"half a signature", string(signatureV2[:11]), "", reasonMissing},
	{"no CR", "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\n", "", reasonMalformed},
	{"no such family", "PROXY TCP5 203.0.113.7 10.0.0.1 4711 443\r\n", "", reasonMalformed},
	{"the wrong family", "PROXY TCP4 2001:db8::7 10.0.0.1 4711 443\r\n", "", reasonMalformed},
	{"a host name for an address", "PROXY TCP4 localhost 10.0.0.1 4711 443\r\n", "", reasonMalformed},
	{"leading zeros", "PROXY TCP4 203.000.113.007 10.0.0.1 4711 443\r\n", "", reasonMalformed},
	{"a port too large", "PROXY TCP4 203.0.113.7 10.0.0.1 65536 443\r\n", "", reasonMalformed},
	{"two spaces", "PROXY  TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "", reasonMalformed},
	{"an extra field", "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443 x\r\n", "", reasonMalformed},
	{"a line too long", "PROXY UNKNOWN " + strings.Repeat("x", 100) + "\r\n", "", reasonMalformed},
	{"a line without end", "PROXY TCP4 " + strings.Repeat("1", 200), "", reasonMalformed},
	{"version 3", headerV2(0x31, 0x11, client4...), "", reasonMalformed},
	{"no such command", headerV2(0x22, 0x11, client4...), "", reasonMalformed},
	{"no such family, version 2", headerV2(0x21, 0x41, client4...), "", reasonMalformed},
	{"no such transport", headerV2(0x21, 0x13, client4...), "", reasonMalformed},
	{"too short for its family", headerV2(0x21, 0x21, client4...), "", reasonMalformed},
	{"without addresses", headerV2(0x21, 0x00), "", reasonMalformed},
	{"datagrams", headerV2(0x21, 0x12, client4...), "", reasonMalformed},
	{"a Unix socket", headerV2(0x21, 0x31, make([]byte, 216)...), "", reasonMalformed},
	{"longer than the limit", headerV2(0x21, 0x11, append(client4[:12:12], make([]byte, 5000)...)...), "", reasonMalformed},
}

// echoServer is a server for which 127.0.0.1 is, or is not, a trusted proxy. It responds with the client's address.
type echoServer struct {
	*Server
	protocol *ProxyProtocol
}

func newEchoServer(t testing.TB, trusts bool, certs *Certificates) *echoServer {
	t.Helper()
	p := NewProxyProtocol(func(peer netip.Addr) bool { return trusts && peer == netip.MustParseAddr("127.0.0.1") }, slog.New(slog.DiscardHandler))
	s := startServer(t, Options{Certificates: certs, ProxyProtocol: p, Connections: NewConnections(ConnectionLimits{Total: 100}),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RemoteAddr) })})
	return &echoServer{s, p}
}

const getRequest = "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n"

// readResponse returns the address that the server sees, or an error if it has closed the connection.
func readResponse(conn net.Conn) (string, error) {
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

// rejected returns how many connections were rejected for reason.
func (s *echoServer) rejected(reason string) float64 {
	return testutil.ToFloat64(s.protocol.rejected.WithLabelValues(reason))
}

// TestProxyProtocol_TrustedProxyNamesClient: in every form of either version, in one piece or in many. Anything else is
// rejected.
func TestProxyProtocol_TrustedProxyNamesClient(t *testing.T) {
	s := newEchoServer(t, true, nil)
	for _, c := range headerCases {
		for _, piece := range []int{1 << 20, 1, 7} {
			before := s.rejected(c.reason)
			conn := dial(t, s.Server)
			want := c.client
			if want == "peer" {
				want = conn.LocalAddr().String()
			}
			for part := []byte(c.sent + getRequest); len(part) > 0; part = part[min(piece, len(part)):] {
				if _, err := conn.Write(part[:min(piece, len(part))]); err != nil {
					break // rejected before everything was sent
				}
			}
			switch got, err := readResponse(conn); {
			case c.reason == "" && (err != nil || got != want):
				t.Errorf("%s, %d bytes at once: the server sees %q, %v; want %s", c.name, piece, got, err, want)
			case c.reason != "" && err == nil:
				t.Errorf("%s, %d bytes at once: the server responds and sees %q", c.name, piece, got)
			case c.reason != "" && s.rejected(c.reason) != before+1:
				t.Errorf("%s, %d bytes at once: not rejected as %s", c.name, piece, c.reason)
			}
		}
	}
}

// TestProxyProtocol_OtherPeersMayNotNameClient: a peer that is not trusted is rejected if it sends a header, and served
// if it does not.
func TestProxyProtocol_OtherPeersMayNotNameClient(t *testing.T) {
	s := newEchoServer(t, false, nil)
	for _, c := range headerCases {
		if c.reason == reasonMissing {
			continue
		}
		before := s.rejected(reasonUntrusted)
		conn := dial(t, s.Server)
		_, _ = io.WriteString(conn, c.sent+getRequest)
		if got, err := readResponse(conn); err == nil || s.rejected(reasonUntrusted) != before+1 {
			t.Errorf("%s: the server sees %q, %v", c.name, got, err)
		}
	}
	conn := dial(t, s.Server)
	_, _ = io.WriteString(conn, getRequest)
	if got, err := readResponse(conn); err != nil || got != conn.LocalAddr().String() {
		t.Errorf("without a header the server sees %q, %v", got, err)
	}
}

// TestProxyProtocol_TruncatedHeaderIsRejected: wherever it ends.
func TestProxyProtocol_TruncatedHeaderIsRejected(t *testing.T) {
	s := newEchoServer(t, true, nil)
	for _, whole := range []string{"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", headerV2(0x21, 0x21, client6...)} {
		for n := range len(whole) {
			conn := dial(t, s.Server)
			_, _ = io.WriteString(conn, whole[:n])
			_ = conn.(*net.TCPConn).CloseWrite()
			if left, _ := io.ReadAll(conn); len(left) > 0 {
				t.Errorf("the response to %q is %q", whole[:n], left)
			}
		}
	}
	if s.rejected(reasonSilent) == 0 || s.rejected(reasonMalformed) != 0 || s.rejected(reasonUntrusted) != 0 {
		t.Error("they are not rejected as silent")
	}
}

// TestProxyProtocol_SlowPeersDelayNoOther: while some connections send no header, or part of one, others are served;
// the slow ones time out.
func TestProxyProtocol_SlowPeersDelayNoOther(t *testing.T) {
	s := newEchoServer(t, true, nil)
	for _, sent := range []string{"", "PROXY", "PROXY TCP4 203.0.113.7 10.0", headerV2(0x21, 0x11, client4...)[:20]} {
		conn := dial(t, s.Server)
		_, _ = io.WriteString(conn, sent)
	}
	conn := dial(t, s.Server)
	_, _ = io.WriteString(conn, "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n"+getRequest)
	if got, err := readResponse(conn); err != nil || got != "203.0.113.7:4711" {
		t.Errorf("behind slow ones the server sees %q, %v", got, err)
	}
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		p := NewProxyProtocol(func(netip.Addr) bool { return true }, slog.New(slog.DiscardHandler))
		var writer sync.WaitGroup
		writer.Go(func() {
			for { // one byte at a time, and never the last one
				if _, err := near.Write([]byte("P")); err != nil {
					return
				}
				time.Sleep(p.timeout / 4)
			}
		})
		start := time.Now()
		c := &proxyProtoConn{Conn: far, protocol: p}
		if _, err := c.Read(make([]byte, 1)); err == nil || time.Since(start) != p.timeout {
			t.Errorf("reading ends after %s with %v", time.Since(start), err)
		}
		if n := testutil.ToFloat64(p.rejected.WithLabelValues(reasonSilent)); n != 1 {
			t.Errorf("%v are rejected as silent", n)
		}
		_ = near.Close()
		writer.Wait()
	})
}

// TestProxyProtocol_TLSFollowsHeader: the TLS handshake begins after the header.
func TestProxyProtocol_TLSFollowsHeader(t *testing.T) {
	ca, certs := newTestCA(t), &Certificates{}
	certs.file.Store(ca.ecdsaPair(t, appHost))
	s := newEchoServer(t, true, certs)
	conn := dial(t, s.Server)
	_, _ = io.WriteString(conn, headerV2(0x21, 0x11, client4...))
	tlsConn := tls.Client(conn, &tls.Config{RootCAs: ca.pool, ServerName: appHost})
	_, _ = io.WriteString(tlsConn, getRequest)
	if got, err := readResponse(tlsConn); err != nil || got != "203.0.113.7:4711" {
		t.Errorf("over TLS the server sees %q, %v", got, err)
	}
}

// TestProxyProtocol_CloseWrite: a connection can be half-closed, through the limit of connections too.
func TestProxyProtocol_CloseWrite(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocol := NewProxyProtocol(func(netip.Addr) bool { return true }, slog.New(slog.DiscardHandler))
	l := &limitListener{Listener: protocol.Listener(tcp), connections: NewConnections(ConnectionLimits{Total: 1})}
	defer l.Close()
	client, err := net.Dial("tcp", tcp.Addr().String())
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

// FuzzProxyProtocol: whatever a peer sends, the server reads nothing that did not follow a header, and the connection
// has an address.
func FuzzProxyProtocol(f *testing.F) {
	for _, c := range headerCases {
		f.Add([]byte(c.sent+getRequest), true)
		f.Add([]byte(c.sent+getRequest), false)
	}
	f.Fuzz(func(t *testing.T, sent []byte, trusts bool) {
		near, far := net.Pipe()
		go func() {
			_, _ = near.Write(sent)
			_ = near.Close()
		}()
		c := &proxyProtoConn{Conn: far, protocol: NewProxyProtocol(func(netip.Addr) bool { return trusts }, slog.New(slog.DiscardHandler))}
		addr := c.RemoteAddr()
		read, err := io.ReadAll(c)
		_ = c.Close()
		switch {
		case addr == nil || addr.String() == "":
			t.Error("there is no address")
		case c.err != nil && (len(read) > 0 || c.client != nil):
			t.Errorf("rejected, but %q is read from %v", read, c.client)
		case c.err == nil && err != nil:
			t.Errorf("not rejected, but cannot be read: %v", err)
		case !bytes.HasSuffix(sent, read):
			t.Errorf("%q is read", read)
		case !trusts && (c.client != nil || c.err == nil && len(read) != len(sent)):
			t.Error("a peer that is not trusted names the client")
		case trusts && c.err == nil && len(read) == len(sent):
			t.Error("a trusted proxy sent no header and was let in")
		}
	})
}
