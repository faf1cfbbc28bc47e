package upstream

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// target is one server that requests may be sent to.
type target struct {
	scheme, host string
	http1        *http1Transport // nil if the target does not speak HTTP/1.1 without TLS
	stock        *http.Transport

	backOffUntil atomic.Int64 // nanoseconds since 1970: until then other targets are preferred
	unhealthy    atomic.Bool  // by its health check
	checking     atomic.Bool  // a health check is under way; whoever set it uses what follows
	failed       int          // health checks in a row
	checked      time.Time    // when it was checked last
}

func newTarget(u *url.URL, timeout time.Duration, config *tls.Config) *target {
	t := &target{scheme: u.Scheme, host: u.Host, stock: newStockTransport(timeout, config, u.Scheme)}
	switch {
	case t.scheme == "h2c":
		t.scheme = "http"
	case t.scheme == "http" && canCheckIdle:
		t.http1 = newHTTP1Transport(hostPort(u), timeout)
	}
	return t
}

// hostPort returns the address that an http upstream listens on.
func hostPort(u *url.URL) string {
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "80")
	}
	return u.Host
}

// RoundTrip sends a request to the target.
func (t *target) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.http1.handles(r) {
		return t.http1.RoundTrip(r)
	}
	return t.stock.RoundTrip(withoutRetry(r))
}

// withoutRetry changes r so that http.Transport does not send it twice. The transport repeats a request without a body
// if it has an Idempotency-Key, but a client's word is no proof that a repetition is harmless. The transport looks for
// the canonical name only, so the header is sent under its lower-case name, which means the same (RFC 9110 §5.1).
func withoutRetry(r *http.Request) *http.Request {
	if r.Body != nil && r.Body != http.NoBody || isSafe(r.Method) {
		return r
	}
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if values, ok := r.Header[name]; ok {
			r.Header = maps.Clone(r.Header) // the header is shared with the requests to other targets
			delete(r.Header, name)
			r.Header[strings.ToLower(name)] = values
		}
	}
	return r
}

// backoffTime is how long a target that failed is passed over while others are available.
const backoffTime = 5 * time.Second

func (t *target) backOff(now time.Time) { t.backOffUntil.Store(now.Add(backoffTime).UnixNano()) }

func (t *target) available(now time.Time) bool {
	return !t.unhealthy.Load() && now.UnixNano() >= t.backOffUntil.Load()
}

// unhealthyAfter is how many checks in a row must fail before a target counts as unhealthy.
const unhealthyAfter = 2

// beginCheck reports whether the caller is to check the target: the last check began at least every ago, and has ended.
// The caller resets checking afterwards.
func (t *target) beginCheck(now time.Time, every time.Duration) bool {
	if !t.checking.CompareAndSwap(false, true) {
		return false
	}
	if now.Sub(t.checked) < every {
		t.checking.Store(false)
		return false
	}
	t.checked = now
	return true
}

// check sends the target one health check. A status of 200 to 399 passes it.
func (t *target) check(ctx context.Context, h *Health, host string) {
	ctx, stop := context.WithTimeout(ctx, h.Timeout)
	defer stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.scheme+"://"+t.host+h.Path, nil)
	if err != nil {
		return // cannot happen: the settings were checked
	}
	if host != "" && host != TargetHost {
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

// newStockTransport returns net/http's transport for one target. It uses no proxy from the environment, and asks for no
// encoding that the client did not ask for.
func newStockTransport(timeout time.Duration, config *tls.Config, scheme string) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(scheme != "h2c")
	protocols.SetHTTP2(scheme == "https")
	protocols.SetUnencryptedHTTP2(scheme == "h2c")
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        config.Clone(),
		TLSHandshakeTimeout:    dialTimeout,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxIdleConns:           maxIdleConns,
		MaxIdleConnsPerHost:    maxIdleConns,
		IdleConnTimeout:        idleTimeout,
		ResponseHeaderTimeout:  timeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: MaxHeaderBytes,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
}
