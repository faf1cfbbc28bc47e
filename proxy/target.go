package proxy

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// target is one place that requests may be sent to.
type target struct {
	scheme, host string
	direct       *direct // nil where what it speaks is not plain HTTP/1.1
	stock        *http.Transport

	rested    atomic.Int64 // nanoseconds since 1970 until which others are asked first: it could not be reached
	unhealthy atomic.Bool  // its health check says so
	failed    int          // checks in a row; the checker's alone
	checked   time.Time    // when it was asked last; likewise
}

// newTarget makes a target; it connects to nothing.
func newTarget(at *url.URL, timeout time.Duration, secure *tls.Config) *target {
	t := &target{scheme: at.Scheme, host: at.Host, stock: newTransport(timeout, secure, at.Scheme)}
	switch {
	case t.scheme == "h2c":
		t.scheme = "http"
	case t.scheme == "http" && canTell:
		t.direct = newDirect(withPort(at), timeout)
	}
	return t
}

// withPort is where an upstream that speaks HTTP listens.
func withPort(u *url.URL) string {
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "80")
	}
	return u.Host
}

// RoundTrip sends a request to the target.
func (t *target) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.direct.takes(r) {
		return t.direct.RoundTrip(r)
	}
	return t.stock.RoundTrip(once(r))
}

// once is r so that the stock transport does not send it twice: it would any request without a body that names a key
// of idempotence, whose word we do not take. In small letters it does not see the name.
func once(r *http.Request) *http.Request {
	if r.Body != nil && r.Body != http.NoBody || repeatable(r.Method) {
		return r
	}
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if key, named := r.Header[name]; named {
			r.Header = maps.Clone(r.Header) // others may be sent it, too
			delete(r.Header, name)
			r.Header[strings.ToLower(name)] = key
		}
	}
	return r
}

func (t *target) closeIdle() {
	t.stock.CloseIdleConnections()
	if t.direct != nil {
		t.direct.CloseIdleConnections()
	}
}

// restFor is how long a target that could not be reached is not asked while others can be.
const restFor = 5 * time.Second

func (t *target) rest(now time.Time) { t.rested.Store(now.Add(restFor).UnixNano()) }

func (t *target) well(now time.Time) bool {
	return !t.unhealthy.Load() && now.UnixNano() >= t.rested.Load()
}

// unhealthyAfter is how many checks in a row have to fail.
const unhealthyAfter = 2

// check asks the target how it is.
func (t *target) check(ctx context.Context, h *Health, host string) {
	ctx, stop := context.WithTimeout(ctx, h.Timeout)
	defer stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.scheme+"://"+t.host+h.Path, nil)
	if err != nil {
		return // the settings were checked
	}
	if host != "" {
		r.Host = host
	}
	r.Header.Set("User-Agent", "sallyport-health")
	res, err := t.RoundTrip(r)
	if err == nil {
		_ = res.Body.Close()
	}
	if err == nil && res.StatusCode >= 200 && res.StatusCode < 400 {
		t.failed = 0
	} else {
		t.failed++
	}
	t.unhealthy.Store(t.failed >= unhealthyAfter)
}

// read makes of the files what TLS needs, and a digest of what is in them.
func (s UpstreamTLS) read() (*tls.Config, [sha256.Size]byte, error) {
	config, sum := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.ServerName}, sha256.New()
	content := map[string][]byte{}
	for _, file := range []string{s.CAFile, s.CertFile, s.KeyFile} {
		if file == "" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, [sha256.Size]byte{}, fmt.Errorf("reading a file of upstream_tls: %w", err)
		}
		content[file] = text
		fmt.Fprintf(sum, "%d\n%s", len(text), text)
	}
	if s.CAFile != "" {
		if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(content[s.CAFile]) {
			return nil, [sha256.Size]byte{}, fmt.Errorf("%s holds no certificate in PEM form", s.CAFile)
		}
	}
	if s.CertFile != "" {
		pair, err := tls.X509KeyPair(content[s.CertFile], content[s.KeyFile])
		if err != nil {
			return nil, [sha256.Size]byte{}, fmt.Errorf("upstream_tls: cert_file %s and key_file %s: %w", s.CertFile, s.KeyFile, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, [sha256.Size]byte(sum.Sum(nil)), nil
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
