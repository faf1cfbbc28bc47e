package proxy

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/audit"
)

// client returns a client that connects to the proxy for every host and follows no redirect. It speaks HTTP/2 if h2 is
// true, and otherwise HTTP/1.1.
func (w *world) client(h2 bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	transport := &http.Transport{
		Protocols: protocols,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, w.server.Listener.Addr().String())
		},
		TLSClientConfig:     &tls.Config{RootCAs: w.server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"},
		DisableCompression:  true,
		MaxIdleConnsPerHost: 64,
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// get sends a GET with headers, in pairs of name and value, and reads the whole response.
func (w *world) get(c *http.Client, url string, headers ...string) (*http.Response, string) {
	w.t.Helper()
	return w.send(c, http.MethodGet, url, nil, headers...)
}

// send sends a request with headers, in pairs of name and value, and reads the whole response.
func (w *world) send(c *http.Client, method, url string, body io.Reader, headers ...string) (*http.Response, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.ctx, method, url, body)
	w.must(err)
	for i := 0; i < len(headers); i += 2 {
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1])
	}
	res, err := c.Do(r)
	w.must(err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	w.must(err)
	return res, string(text)
}

// sendRaw sends text over a new TLS connection, for which HTTP/1.1 is negotiated, and returns the connection.
func (w *world) sendRaw(text string) *tls.Conn {
	w.t.Helper()
	conn, err := tls.Dial("tcp", w.server.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	w.must(err)
	w.t.Cleanup(func() { conn.Close() })
	w.must(conn.SetDeadline(time.Now().Add(waitLimit)))
	_, err = io.WriteString(conn, text)
	w.must(err)
	return conn
}

// mirror responds with the request as the upstream received it: method, target and host in headers, and the headers in
// the body.
func mirror(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Saw", r.Method+" "+r.RequestURI)
	w.Header().Set("X-Saw-Host", r.Host)
	_ = r.Header.Write(w)
}

// events returns the lines of the audit record of a kind.
func (w *world) events(kind audit.Kind) (list []string) {
	w.t.Helper()
	text, err := os.ReadFile(w.auditFile)
	w.must(err)
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"kind":"`+string(kind)+`"`) {
			list = append(list, line)
		}
	}
	return list
}

// metric returns the sum of the values of a metric over all series that have the labels, given in pairs of name and
// value.
func (w *world) metric(name string, labels ...string) float64 {
	w.t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(w.proxy.Collectors()...)
	families, err := reg.Gather()
	w.must(err)
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			series := map[string]string{}
			for _, l := range m.GetLabel() {
				series[l.GetName()] = l.GetValue()
			}
			matches := true
			for i := 0; i < len(labels); i += 2 {
				matches = matches && series[labels[i]] == labels[i+1]
			}
			if matches {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// eventually waits until condition returns true. what names the condition in the failure.
func (w *world) eventually(what string, condition func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(waitLimit); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("not after %s: %s", waitLimit, what)
		}
	}
}
