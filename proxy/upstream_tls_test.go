package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestUpstream_Protocols(t *testing.T) {
	seen := make(chan string, 1)
	h := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { seen <- r.Proto + " " + r.RequestURI + " " + r.Host })
	secure := httptest.NewUnstartedServer(h)
	secure.EnableHTTP2 = true
	StartTLS(secure)
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := httptest.NewUnstartedServer(h)
	plain.Config.Protocols = new(http.Protocols)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Start()
	t.Cleanup(plain.Close)

	w := newWorld(t, func(s *Settings) {
		route := func(name string, change func(*Route)) {
			r := s.Routes[1]
			r.Name, r.Host = name, name+".example.com"
			change(&r)
			s.Routes = append(s.Routes, r)
		}
		route("https", func(r *Route) { r.Upstream, r.UpstreamTLS.CAFile = Upstreams{secure.URL}, ca })
		route("h2c", func(r *Route) { r.Upstream = Upstreams{strings.Replace(plain.URL, "http", "h2c", 1)} })
		route("untrusted", func(r *Route) { r.Upstream, r.UpstreamTLS = Upstreams{secure.URL}, UpstreamTLS{} })
	})
	for _, name := range []string{"https", "h2c"} {
		w.get(w.client(true), "https://"+name+".example.com/a%20b?c=%zz;d")
		if got := <-seen; got != "HTTP/2.0 /a%20b?c=%zz;d "+name+".example.com" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if res, _ := w.get(w.client(true), "https://untrusted.example.com/"); res.StatusCode != 502 {
		t.Errorf("an upstream with an untrusted certificate: %d", res.StatusCode)
	}
}

// TestUpstreamTLS_ClientCertificate checks that the proxy authenticates to an upstream that requires a client
// certificate and whose own certificate has another name than its address, and that a reload uses changed files.
func TestUpstreamTLS_ClientCertificate(t *testing.T) {
	dir := t.TempDir()
	ours := certificate(t, filepath.Join(dir, "ours"), "sallyport")
	theirs := certificate(t, filepath.Join(dir, "theirs"), "app.internal")
	pool := x509.NewCertPool()
	pool.AddCert(ours.Leaf)
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	upstream.TLS = &tls.Config{Certificates: []tls.Certificate{theirs}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	upstream.StartTLS()
	t.Cleanup(upstream.Close)
	whole := UpstreamTLS{CAFile: filepath.Join(dir, "theirs.crt"), CertFile: filepath.Join(dir, "ours.crt"), KeyFile: filepath.Join(dir, "ours.key"), ServerName: "app.internal"}
	w := newWorld(t, func(s *Settings) {
		s.Routes[1].Upstream, s.Routes[1].UpstreamTLS = Upstreams{upstream.URL}, whole
	})
	if res, body := w.get(w.client(true), "https://"+openHost+"/"); res.StatusCode != 200 || body != "sallyport" {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	before := w.proxy.routing.Load().routes[1].upstream
	w.must(w.proxy.Load(w.settings))
	if w.proxy.routing.Load().routes[1].upstream != before {
		t.Error("a reload with unchanged files made a new upstream")
	}
	certificate(t, filepath.Join(dir, "ours"), "sallyport two")
	w.must(w.proxy.Load(w.settings))
	if w.proxy.routing.Load().routes[1].upstream == before {
		t.Error("a reload does not use the new certificate")
	}
	w.settings.Routes[1].UpstreamTLS.CertFile, w.settings.Routes[1].UpstreamTLS.KeyFile = "", ""
	w.must(w.proxy.Load(w.settings))
	if res, _ := w.get(w.client(true), "https://"+openHost+"/"); res.StatusCode != 502 {
		t.Errorf("without a certificate: %d", res.StatusCode)
	}
}

// certificate writes a self-signed certificate to path.crt and path.key.
func certificate(t *testing.T, path, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	crt := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	for name, text := range map[string][]byte{path + ".crt": crt, path + ".key": private} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(crt, private)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}
