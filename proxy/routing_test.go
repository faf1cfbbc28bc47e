package proxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// member is one of several upstream servers of a route. Its health check can fail.
type member struct {
	*httptest.Server
	asked     atomic.Int64 // requests other than health checks
	unhealthy atomic.Bool
}

func newMember(t *testing.T) *member {
	m := &member{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			if m.unhealthy.Load() {
				rw.WriteHeader(http.StatusServiceUnavailable)
			}
			return
		}
		m.asked.Add(1)
		_, _ = io.Copy(rw, r.Body)
	}))
	t.Cleanup(m.Close)
	return m
}

// silentAddress returns an address on which nothing listens.
func silentAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestUpstream_RetriesOnAnother: if a server cannot be reached or closes before it responds, and only for requests that
// may be sent again.
func TestUpstream_RetriesOnAnother(t *testing.T) {
	good, hangsUp := newMember(t), closesConnections(t)
	for _, c := range []struct {
		says, bad, method, body string
		code                    int
	}{
		{"nobody listens, GET", silentAddress(t), "GET", "", 200},
		{"nobody listens, DELETE", silentAddress(t), "DELETE", "", 200},
		{"nobody listens, POST with a body", silentAddress(t), "POST", "x", 502},
		{"it hangs up, GET", hangsUp, "GET", "", 200},
		{"it hangs up, DELETE", hangsUp, "DELETE", "", 502},
		{"it hangs up, POST with a body", hangsUp, "POST", "x", 502},
	} {
		t.Run(c.says, func(t *testing.T) {
			w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = Upstreams{good.URL, "http://" + c.bad} }) // the second is first
			r, err := http.NewRequestWithContext(w.ctx, c.method, "https://"+openHost+"/", strings.NewReader(c.body))
			w.must(err)
			res, err := w.client(false).Do(r)
			w.must(err)
			if res.StatusCode != c.code {
				t.Errorf("%d", res.StatusCode)
			}
		})
	}
}

// TestUpstream_BacksOff: requests do not wait again for a server that cannot be reached.
func TestUpstream_BacksOff(t *testing.T) {
	good := newMember(t)
	w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = Upstreams{good.URL, "http://" + silentAddress(t)} })
	c := w.client(true)
	w.get(c, "https://"+openHost+"/")
	for range 4 { // with a body: these are not sent again
		r, err := http.NewRequestWithContext(w.ctx, "POST", "https://"+openHost+"/", strings.NewReader("x"))
		w.must(err)
		res, err := c.Do(r)
		w.must(err)
		if res.StatusCode != 200 {
			t.Errorf("%d", res.StatusCode)
		}
	}
}

func TestHealth(t *testing.T) {
	one, two := newMember(t), newMember(t)
	w := newWorld(t, func(s *Settings) {
		s.Routes[1].Upstream, s.Routes[1].Health = Upstreams{one.URL, two.URL}, &Health{Path: "/healthz", Every: time.Minute}
	})
	now := time.Now()
	check := func() {
		now = now.Add(time.Minute)
		w.proxy.checkHealth(w.ctx, now)
	}
	ask := func() (a, b int64) {
		before, beside := one.asked.Load(), two.asked.Load()
		for range 4 {
			w.get(w.client(true), "https://"+openHost+"/")
		}
		return one.asked.Load() - before, two.asked.Load() - beside
	}
	down := func() float64 { return w.number("sallyport_upstream_targets_down", "route", "open") }
	check()
	if a, b := ask(); a != 2 || b != 2 || down() != 0 {
		t.Errorf("both are well: %d, %d, %v", a, b, down())
	}
	one.unhealthy.Store(true)
	check()
	if a, b := ask(); a != 2 || b != 2 {
		t.Errorf("once may be chance: %d, %d", a, b)
	}
	check()
	if a, b := ask(); a != 0 || b != 4 || down() != 1 {
		t.Errorf("one is ill: %d, %d, %v", a, b, down())
	}
	two.unhealthy.Store(true)
	check()
	check()
	if a, b := ask(); a != 2 || b != 2 || down() != 2 {
		t.Errorf("none is well, so all are asked: %d, %d, %v", a, b, down())
	}
	one.unhealthy.Store(false)
	w.proxy.checkHealth(w.ctx, now) // too early to ask again
	if down() != 2 {
		t.Error("asked more often than said")
	}
	check()
	if a, b := ask(); a != 4 || b != 0 || down() != 1 {
		t.Errorf("one is well again: %d, %d, %v", a, b, down())
	}
}

func TestRewrite(t *testing.T) {
	for _, c := range []struct{ path, strip, add, asked, saw string }{
		{"/app", "/app", "", "/app/x?q=1", "GET /x?q=1"},
		{"/app", "/app", "", "/app", "GET /"},
		{"/app", "/app", "", "/app/", "GET /"},
		{"/app", "/app", "/v2/api/", "/app/x", "GET /v2/api/x"},
		{"/app", "/app", "/v2", "/app", "GET /v2"},
		{"/a/b", "/a", "", "/a/b/c", "GET /b/c"},
		{"/", "", "/under", "/x%20y", "GET /under/x%20y"},
		{"/app", "/app", "", "/app/.sallyport/me", "400"},
	} {
		w := newWorld(t, func(s *Settings) {
			s.Routes[1].Path, s.Routes[1].Rewrite = c.path, &Rewrite{Strip: c.strip, Add: c.add}
		})
		res, _ := w.get(w.client(true), "https://"+openHost+c.asked)
		if got := res.Header.Get("X-Saw"); got != c.saw && res.Status[:3] != c.saw {
			t.Errorf("%+v: %s %s", c, res.Status, got)
		}
	}
}

func TestHeaderEdits(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		s.Routes[1].RequestHeaders = HeaderEdits{Remove: []string{"accept-language"}, Set: []HeaderSet{{"X-Env", "prod"}}}
		s.Routes[1].ResponseHeaders = HeaderEdits{Remove: []string{"Server"}, Set: []HeaderSet{{"X-Frame-Options", "DENY"}}}
	})
	w.behindIs(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Server", "secret/1.0")
		mirror(rw, r)
	})
	res, body := w.get(w.client(true), "https://"+openHost+"/", "Accept-Language", "de", "X-Env", "test")
	if strings.Contains(body, "Accept-Language") || !strings.Contains(body, "X-Env: prod") || strings.Contains(body, "test") {
		t.Errorf("the upstream sees\n%s", body)
	}
	if res.Header.Get("Server") != "" || res.Header.Get("X-Frame-Options") != "DENY" {
		t.Errorf("the client sees %v", res.Header)
	}
}

func TestUpstreamHost(t *testing.T) {
	for written, want := range map[string]string{"": openHost, "public": openHost, "upstream": "", "grafana.internal": "grafana.internal"} {
		w := newWorld(t, func(s *Settings) { s.Routes[1].UpstreamHost = written })
		if want == "" {
			want = w.upstream.Listener.Addr().String()
		}
		res, _ := w.get(w.client(true), "https://"+openHost+"/")
		if got := res.Header.Get("X-Saw-Host"); got != want {
			t.Errorf("%q: %s", written, got)
		}
	}
}

func TestMaxBody(t *testing.T) {
	w := newWorld(t, func(s *Settings) { s.Routes[1].MaxBody = 10 })
	w.behindIs(func(rw http.ResponseWriter, r *http.Request) { _, _ = io.Copy(rw, r.Body) })
	for _, h2 := range []bool{false, true} {
		for _, c := range []struct {
			body io.Reader
			code int
		}{
			{strings.NewReader("ten bytes!"), 200},
			{strings.NewReader("ten bytes!!"), 413},
			{io.MultiReader(strings.NewReader("of a length"), strings.NewReader("that is not known")), 413},
		} {
			r, err := http.NewRequestWithContext(w.ctx, "POST", "https://"+openHost+"/", c.body)
			w.must(err)
			res, err := w.client(h2).Do(r)
			w.must(err)
			if res.StatusCode != c.code {
				t.Errorf("HTTP/2 %v, %d bytes: %d", h2, r.ContentLength, res.StatusCode)
			}
		}
	}
	if n := w.number("sallyport_upstream_errors_total"); n != 0 {
		t.Errorf("%v errors of an upstream are counted", n)
	}
}

// TestPreflight: on a route that lets CORS preflight requests through, they are anonymous, and no other request is.
func TestPreflight(t *testing.T) {
	ask := func(w *world, method string, headers ...string) (*http.Response, string) {
		r, err := http.NewRequestWithContext(w.ctx, method, "https://"+appHost+"/", nil)
		w.must(err)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		res, err := w.client(true).Do(r)
		w.must(err)
		body, err := io.ReadAll(res.Body)
		w.must(err)
		return res, string(body)
	}
	full := []string{"Origin", "https://elsewhere.example.com", "Access-Control-Request-Method", "PUT", "Authorization", "Bearer x", "Cookie", "a=b", "X-Forwarded-User", "root"}
	w := newWorld(t, func(s *Settings) { s.Routes[0].Preflight = "pass" })
	res, body := ask(w, "OPTIONS", full...)
	if res.StatusCode != 200 {
		t.Fatalf("%d", res.StatusCode)
	}
	for _, secret := range []string{"Authorization", "Cookie", "X-Forwarded-User", "X-Sallyport-Assertion"} {
		if strings.Contains(body, secret) {
			t.Errorf("the upstream sees %s", secret)
		}
	}
	if res, _ := ask(w, "OPTIONS", full[2:4]...); res.StatusCode != 401 {
		t.Errorf("without Origin: %d", res.StatusCode)
	}
	if res, _ := ask(w, "GET", full[:4]...); res.StatusCode != 401 {
		t.Errorf("GET: %d", res.StatusCode)
	}
	if res, _ := ask(newWorld(t, nil), "OPTIONS", full[:4]...); res.StatusCode != 401 {
		t.Errorf("where nothing was said: %d", res.StatusCode)
	}
}

// TestClientCertificate: an upstream requires a client certificate, and has another name than its address.
func TestClientCertificate(t *testing.T) {
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
		t.Error("files that stay the same make another upstream")
	}
	certificate(t, filepath.Join(dir, "ours"), "sallyport two")
	w.must(w.proxy.Load(w.settings))
	if w.proxy.routing.Load().routes[1].upstream == before {
		t.Error("another certificate is not taken")
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

// TestRetries_EndWithRequest: no server is tried for a client that is gone.
func TestRetries_EndWithRequest(t *testing.T) {
	good := newMember(t)
	u, err := newUpstream(Route{Upstream: Upstreams{good.URL, "http://" + silentAddress(t)}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://x/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.RoundTrip(r); err == nil || good.asked.Load() != 0 {
		t.Errorf("%v, %d", err, good.asked.Load())
	}
}
