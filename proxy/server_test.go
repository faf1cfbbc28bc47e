package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// StartTLS starts a server of a test with a certificate that its Client trusts. Signing with the RSA key of httptest
// and the hybrid key exchange take much of a handshake's time, above all under the race detector.
func StartTLS(s *httptest.Server) {
	s.TLS = &tls.Config{Certificates: []tls.Certificate{serverCertificate()}, CurvePreferences: []tls.CurveID{tls.X25519}}
	s.StartTLS()
}

// NewTLSServer starts a server of a test by StartTLS.
func NewTLSServer(h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	StartTLS(s)
	return s
}

// serverCertificate is valid for the same names and addresses as the certificate of httptest.
var serverCertificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"example.com", "*.example.com"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})
