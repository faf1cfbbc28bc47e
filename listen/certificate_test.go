package listen

import (
	"crypto/ecdsa"
	"crypto/tls"
	"fmt"
	"net"
	"testing"
)

// handshake performs a TLS handshake between a client and a server with these settings.
func handshake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
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

// TestTLS_Handshakes: what clients that support one thing only negotiate.
func TestTLS_Handshakes(t *testing.T) {
	ca := newTestCA(t)
	ec := ca.ecdsaPair(t, appHost)
	suite := func(id uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{id} }
	}
	curve := func(id tls.CurveID) func(*tls.Config) {
		return func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{id} }
	}
	only := func(version uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version }
	}
	const rejected = ""
	for _, c := range []struct {
		name   string
		cert   *tls.Certificate
		client func(*tls.Config)
		want   string // version, suite and curve
	}{
		{"current client", ec, func(*tls.Config) {}, "TLS 1.3 TLS_AES_128_GCM_SHA256 X25519MLKEM768"},
		{"TLS 1.3 without post-quantum keys", ec, curve(tls.X25519), "TLS 1.3 TLS_AES_128_GCM_SHA256 X25519"},
		{"P-256 only", ec, curve(tls.CurveP256), "TLS 1.3 TLS_AES_128_GCM_SHA256 CurveP256"},
		{"P-521 only", ec, curve(tls.CurveP521), rejected},
		{"TLS 1.2", ec, only(tls.VersionTLS12), "TLS 1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 X25519"},
		{"TLS 1.2, RSA certificate", ca.rsaPair(t, appHost), only(tls.VersionTLS12), "TLS 1.2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 X25519"},
		{"TLS 1.2, AES-256", ca.rsaPair(t, appHost), suite(tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384), "TLS 1.2 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 X25519"},
		{"TLS 1.2, ChaCha20", ec, suite(tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256), "TLS 1.2 TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 X25519"},
		{"TLS 1.1", ec, only(tls.VersionTLS11), rejected},
		{"TLS 1.0", ec, only(tls.VersionTLS10), rejected},
		{"RSA key exchange", ca.rsaPair(t, appHost), suite(tls.TLS_RSA_WITH_AES_128_GCM_SHA256), rejected},
		{"CBC", ca.rsaPair(t, appHost), suite(tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA), rejected},
		{"CBC with SHA-256", ec, suite(tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256), rejected},
		{"3DES", ca.rsaPair(t, appHost), suite(tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA), rejected},
		{"RC4", ec, suite(tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA), rejected},
		{"unsupported protocol", ec, func(c *tls.Config) { c.NextProtos = []string{"acme-tls/1"} }, rejected},
	} {
		t.Run(c.name, func(t *testing.T) {
			certs := &Certificates{}
			certs.file.Store(c.cert)
			client := &tls.Config{RootCAs: ca.pool, ServerName: appHost, NextProtos: []string{"h2", "http/1.1"}}
			c.client(client)
			state, err := handshake(t, certs.tlsConfig(), client)
			got := rejected
			if err == nil {
				got = fmt.Sprint(tls.VersionName(state.Version), " ", tls.CipherSuiteName(state.CipherSuite), " ", state.CurveID)
			}
			if got != c.want {
				t.Errorf("it negotiates %q (%v), want %q", got, err, c.want)
			}
			if err == nil && state.NegotiatedProtocol != "h2" {
				t.Errorf("the protocol is %q", state.NegotiatedProtocol)
			}
		})
	}
	if _, ok := ec.PrivateKey.(*ecdsa.PrivateKey); !ok {
		t.Error("the usual certificate has no ECDSA key")
	}
}

// TestCertificates_Reload: with files, new handshakes use the new certificate; with tls.off, TLS stays off.
func TestCertificates_Reload(t *testing.T) {
	ca := newTestCA(t)
	old, next := ca.ecdsaPair(t, appHost), ca.ecdsaPair(t, appHost)
	certs := &Certificates{}
	certs.file.Store(old)
	certs.Reload(nil)
	if got, err := certs.get(&tls.ClientHelloInfo{ServerName: appHost}); err != nil || got != old {
		t.Errorf("without a new certificate the old one is not used: %v", err)
	}
	certs.Reload(next)
	if got, err := certs.get(&tls.ClientHelloInfo{ServerName: appHost}); err != nil || got != next {
		t.Errorf("the new certificate is not used: %v", err)
	}
	off, err := NewCertificates(TLS{Off: true}, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	off.Reload(next)
	if off.tlsConfig() != nil {
		t.Error("a reload turns TLS on")
	}
	if _, ok := off.expiry(); ok {
		t.Error("a certificate that is not in use has an expiry")
	}
}
