package proxy

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport/proxy/internal/canonical"
)

// BenchmarkThrough measures one request over loopback with a response of 1 KiB, on idle connections, with client and
// upstream in the same process. Compare it with the stock proxy of the same run.
func BenchmarkThrough(b *testing.B) {
	w := newWorld(b, nil)
	page := []byte(strings.Repeat("x", 1<<10))
	w.setUpstream(func(rw http.ResponseWriter, _ *http.Request) { rw.Write(page) })
	to, err := url.Parse(w.upstream.URL)
	w.must(err)
	transport := &http.Transport{DisableCompression: true, MaxIdleConns: 256, MaxIdleConnsPerHost: 256, ResponseHeaderTimeout: time.Minute}
	stock := &httputil.ReverseProxy{Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(to); pr.SetXForwarded() }, Transport: transport}
	_, alice := w.signIn("alice", appHost)
	bearer := "Bearer " + w.token("alice", nil)
	for _, c := range []struct {
		name    string
		h       http.Handler
		host    string
		headers [2]string
	}{
		{"direct", w.upstream.Config.Handler, appHost, [2]string{"Cookie", alice}},
		{"stock", stock, appHost, [2]string{"Cookie", alice}},
		{"anonymous", w.proxy, openHost, [2]string{"Cookie", alice}},
		{"session", w.proxy, appHost, [2]string{"Cookie", alice}},
		{"bearer", w.proxy, apiHost, [2]string{"Authorization", bearer}},
	} {
		b.Run(c.name, func(b *testing.B) {
			server := httptest.NewServer(c.h)
			defer server.Close()
			client := server.Client()
			client.Transport.(*http.Transport).MaxIdleConnsPerHost = 64
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r, _ := http.NewRequest("GET", server.URL+"/v1/x", nil)
					r.Host = c.host
					r.Header.Set(c.headers[0], c.headers[1])
					res, err := client.Do(r)
					if err != nil {
						b.Fatal(err)
					}
					n, _ := io.Copy(io.Discard, res.Body)
					res.Body.Close()
					if res.StatusCode != 200 || n != int64(len(page)) {
						b.Fatal(res.Status, n)
					}
				}
			})
		})
	}
}

// BenchmarkDecide measures one decision: session, directory and rules.
func BenchmarkDecide(b *testing.B) {
	w := newWorld(b, nil)
	started, _ := w.signIn("alice", appHost)
	rt := w.proxy.routing.Load()
	req := &request{routing: rt, route: rt.routes[0], method: "GET", host: appHost, path: "/d/abc/dashboard", caller: &caller{session: &started}}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if out := w.proxy.decide(rt, req, now); out.denial != nil {
			b.Fatal(out.denial.reason)
		}
	}
}

// BenchmarkCanonicalPath measures the normalization of a path.
func BenchmarkCanonicalPath(b *testing.B) {
	for _, raw := range []string{"/api/v1/dashboards/uid/abcdef", "/wiki/Caf%c3%a9/a%20b"} {
		b.Run(raw, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := canonical.Path(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStrip measures the removal of the headers that are not forwarded.
func BenchmarkStrip(b *testing.B) {
	names := Defaults().managedNames()
	h := http.Header{}
	for _, name := range []string{"Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Cookie", "Referer", "Sec-Fetch-Mode", "Sec-Fetch-Site", "User-Agent", "X-Requested-With"} {
		h.Set(name, "x")
	}
	b.ReportAllocs()
	for b.Loop() {
		names.Strip(h)
	}
}

// silentClient is the client of a response that nobody reads.
type silentClient struct {
	header http.Header
	code   int
}

func (c *silentClient) Header() http.Header              { return c.header }
func (c *silentClient) Write(p []byte) (int, error)      { return len(p), nil }
func (c *silentClient) WriteHeader(code int)             { c.code = code }
func (c *silentClient) Flush()                           {}
func (c *silentClient) SetReadDeadline(time.Time) error  { return nil }
func (c *silentClient) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkRefuse measures the denial of a request without a credential, without net/http.
func BenchmarkRefuse(b *testing.B) {
	w := newWorld(b, nil)
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET /v1/x HTTP/1.1\r\nHost: " + appHost + "\r\nAccept: application/json\r\nUser-Agent: bench\r\n\r\n")))
	w.must(err)
	r.RemoteAddr = "192.0.2.1:1234"
	b.ReportAllocs()
	for b.Loop() {
		client := &silentClient{header: http.Header{}}
		if w.proxy.ServeHTTP(client, r); client.code != http.StatusUnauthorized {
			b.Fatal(client.code)
		}
	}
}
