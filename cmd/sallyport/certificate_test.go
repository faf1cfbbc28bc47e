package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"testing"
	"time"
)

// rsaPair is a certificate with an RSA key, which old ways of agreeing on keys need.
func (a *authority) rsaPair(t testing.TB, name string) *tls.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// shake has a client shake hands with a server of our settings.
func shake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if conn, err := l.Accept(); err == nil {
			_ = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := tls.Client(conn, client)
	err = c.Handshake()
	return c.ConnectionState(), err
}

// TestHandshakes is what clients that can one thing only get.
func TestHandshakes(t *testing.T) {
	ca := newAuthority(t)
	ec := ca.pair(t, appHost)
	suite := func(id uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{id} }
	}
	curve := func(id tls.CurveID) func(*tls.Config) {
		return func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{id} }
	}
	only := func(version uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version }
	}
	const refused = ""
	for _, c := range []struct {
		name   string
		cert   *tls.Certificate
		client func(*tls.Config)
		want   string // version, suite and curve
	}{
		{"a client of today", &ec, func(*tls.Config) {}, "TLS 1.3 TLS_AES_128_GCM_SHA256 X25519MLKEM768"},
		{"TLS 1.3 without post-quantum keys", &ec, curve(tls.X25519), "TLS 1.3 TLS_AES_128_GCM_SHA256 X25519"},
		{"P-256 alone", &ec, curve(tls.CurveP256), "TLS 1.3 TLS_AES_128_GCM_SHA256 CurveP256"},
		{"P-521 alone", &ec, curve(tls.CurveP521), refused},
		{"TLS 1.2", &ec, only(tls.VersionTLS12), "TLS 1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 X25519"},
		{"TLS 1.2, RSA certificate", ca.rsaPair(t, appHost), only(tls.VersionTLS12), "TLS 1.2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 X25519"},
		{"TLS 1.2, AES-256", ca.rsaPair(t, appHost), suite(tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384), "TLS 1.2 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 X25519"},
		{"TLS 1.2, ChaCha20", &ec, suite(tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256), "TLS 1.2 TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 X25519"},
		{"TLS 1.1", &ec, only(tls.VersionTLS11), refused},
		{"TLS 1.0", &ec, only(tls.VersionTLS10), refused},
		{"keys by RSA", ca.rsaPair(t, appHost), suite(tls.TLS_RSA_WITH_AES_128_GCM_SHA256), refused},
		{"CBC", ca.rsaPair(t, appHost), suite(tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA), refused},
		{"CBC with SHA-256", &ec, suite(tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256), refused},
		{"3DES", ca.rsaPair(t, appHost), suite(tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA), refused},
		{"RC4", &ec, suite(tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA), refused},
		{"a protocol we do not speak", &ec, func(c *tls.Config) { c.NextProtos = []string{"acme-tls/1"} }, refused},
	} {
		t.Run(c.name, func(t *testing.T) {
			ours := &certificates{}
			ours.file.Store(c.cert)
			client := &tls.Config{RootCAs: ca.pool, ServerName: appHost, NextProtos: []string{"h2", "http/1.1"}}
			c.client(client)
			state, err := shake(t, ours.config(), client)
			got := refused
			if err == nil {
				got = fmt.Sprint(tls.VersionName(state.Version), " ", tls.CipherSuiteName(state.CipherSuite), " ", state.CurveID)
			}
			if got != c.want {
				t.Errorf("it gets %q (%v), want %q", got, err, c.want)
			}
			if err == nil && state.NegotiatedProtocol != "h2" {
				t.Errorf("the protocol is %q", state.NegotiatedProtocol)
			}
		})
	}
	if _, is := ec.PrivateKey.(*ecdsa.PrivateKey); !is {
		t.Error("the usual certificate has no ECDSA key")
	}
}

// TestHandshakesThatStallEnd: whoever begins one and says no more has its time run out,
// and nobody waits for it.
func TestHandshakesThatStallEnd(t *testing.T) {
	ca := newAuthority(t)
	pair := ca.pair(t, appHost)
	ours := &certificates{}
	ours.file.Store(&pair)
	d := newDoor("public", func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ours.config(), slog.New(slog.DiscardHandler))
	d.server.ReadHeaderTimeout = 100 * time.Millisecond // of which the handshake has its part
	if err := d.open(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- d.serve() }()
	for _, said := range []string{"", "\x16", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"} {
		conn, err := net.Dial("tcp", d.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, said)
		if _, err := io.ReadAll(conn); err != nil {
			t.Errorf("after %q it ends with %v", said, err)
		}
		_ = conn.Close()
	}
	_ = d.server.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
