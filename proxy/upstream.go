package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"sync/atomic"
	"time"
)

const (
	dialTimeout   = 5 * time.Second
	idleTimeout   = 90 * time.Second
	idlePerTarget = 256       // kept connections to one target
	answerHeaders = 256 << 10 // bytes of an upstream's headers
	flushEvery    = 5 * time.Millisecond
)

// upstream is what a route leads to: one or more targets that take turns.
type upstream struct {
	written Route // what it was made of
	targets []target
	turn    atomic.Uint32
}

// target is one place that requests may be sent to.
type target struct {
	scheme, host string
	direct       *direct // nil where what it speaks is not plain HTTP/1.1
	stock        *http.Transport
}

// RoundTrip sends a request to the target.
func (t *target) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.direct.takes(r) {
		return t.direct.RoundTrip(r)
	}
	return t.stock.RoundTrip(r)
}

// newUpstream makes the upstream of a route; it connects to nothing.
func newUpstream(w Route) (*upstream, error) {
	secure, err := upstreamTLS(w.UpstreamCAFile)
	if err != nil {
		return nil, err
	}
	if w.Timeout == 0 {
		w.Timeout = defaultTimeout
	}
	u := &upstream{written: upstreamPart(w)}
	for _, text := range w.Upstream {
		at, err := parseUpstream(text)
		if err != nil {
			return nil, err
		}
		t := target{scheme: at.Scheme, host: at.Host, stock: newTransport(w.Timeout, secure, at.Scheme)}
		switch t.scheme {
		case "h2c":
			t.scheme = "http"
		case "http":
			if canTell {
				t.direct = newDirect(withPort(at), w.Timeout)
			}
		}
		u.targets = append(u.targets, t)
	}
	return u, nil
}

// upstreamPart is what of a route its upstream depends on.
func upstreamPart(w Route) Route {
	return Route{Name: w.Name, Upstream: w.Upstream, UpstreamCAFile: w.UpstreamCAFile, Timeout: w.Timeout}
}

// same says whether an upstream made of w would be like u. Files may have changed, so one that reads any is not.
func (u *upstream) same(w Route) bool {
	if w.Timeout == 0 {
		w.Timeout = defaultTimeout
	}
	return w.UpstreamCAFile == "" && reflect.DeepEqual(u.written, upstreamPart(w))
}

func (u *upstream) next() *target { return &u.targets[int(u.turn.Add(1))%len(u.targets)] }

func (u *upstream) closeIdle() {
	for _, t := range u.targets {
		t.stock.CloseIdleConnections()
		if t.direct != nil {
			t.direct.CloseIdleConnections()
		}
	}
}

// parseUpstream reads scheme, host and port of an upstream.
func parseUpstream(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, errors.New("this is no URL; write for example http://127.0.0.1:3000")
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "h2c":
		return nil, fmt.Errorf("%q: an upstream speaks http, https or h2c", text)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return nil, fmt.Errorf("%q: write scheme, host and port alone; paths go to the upstream as they come", u.Redacted())
	}
	if _, err := canonicalHost(u.Host); err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	return u, nil
}

// withPort is where an upstream that speaks HTTP listens.
func withPort(u *url.URL) string {
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "80")
	}
	return u.Host
}

func upstreamTLS(caFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("reading upstream_ca_file: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", caFile)
	}
	return config, nil
}

// newTransport speaks to one target and nothing else: no proxy of the environment, no redirects, no other encoding
// than the client asked for.
func newTransport(timeout time.Duration, secure *tls.Config, scheme string) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(scheme != "h2c")
	protocols.SetHTTP2(scheme == "https")
	protocols.SetUnencryptedHTTP2(scheme == "h2c")
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        secure.Clone(),
		TLSHandshakeTimeout:    dialTimeout,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxIdleConns:           idlePerTarget,
		MaxIdleConnsPerHost:    idlePerTarget,
		IdleConnTimeout:        idleTimeout,
		ResponseHeaderTimeout:  timeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: answerHeaders,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
}
