package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"sallyport/proxy/internal/lifetime"
)

// target is one server that requests may be sent to.
type target struct {
	scheme, host string
	dialer       *dialer
	http1        *http1Transport // nil: the target speaks HTTP/2 alone
	http2        *http.Transport // nil: the target speaks HTTP/1.1 alone
	choseHTTP2   atomic.Bool     // which of the two it chose when it was connected to last
	responded    atomic.Int64    // nanoseconds since 1970: when it last responded to a request

	backOffUntil atomic.Int64 // nanoseconds since 1970: until then other targets are preferred
	unhealthy    atomic.Bool  // by its health check
	checking     atomic.Bool  // a health check is under way; whoever set it uses what follows
	failed       int          // health checks in a row
	checked      time.Time    // when it was checked last
}

func newTarget(u *url.URL, timeout time.Duration, config *tls.Config) *target {
	d := &dialer{address: hostPort(u)}
	t := &target{scheme: u.Scheme, host: u.Host, dialer: d}
	switch u.Scheme {
	case "h2c":
		t.scheme = "http"
		t.http2 = newHTTP2Transport(d, timeout)
	case "http":
		t.http1 = newHTTP1Transport(d, timeout)
	default:
		if d.tls = config; d.tls == nil {
			d.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		t.http1, t.http2 = newHTTP1Transport(d, timeout), newHTTP2Transport(d, timeout)
	}
	return t
}

// hostPort returns the address that a target listens on.
func hostPort(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Host
	case u.Scheme == "https":
		return net.JoinHostPort(u.Hostname(), "443")
	}
	return net.JoinHostPort(u.Hostname(), "80")
}

// roundTrip sends a request to the target now. An https target speaks HTTP/2 if it chooses to, except that WebSockets need
// HTTP/1.1.
func (t *target) roundTrip(ctx *lifetime.Context, r *Request, now time.Time) (*http.Response, error) {
	r.begin(now)
	if t.http2 == nil || t.http1 != nil && (r.Upgrade || !t.choseHTTP2.Load()) {
		res, err := t.http1.roundTrip(ctx, r, now)
		if !errors.Is(err, errChoseHTTP2) {
			return res, err
		}
		t.choseHTTP2.Store(true)
	}
	res, err := t.http2.RoundTrip(r.toHTTP(ctx, t))
	if errors.Is(err, errChoseHTTP1) {
		t.choseHTTP2.Store(false)
		if !r.hasBody() { // net/http closed it
			return t.http1.roundTrip(ctx, r, time.Now())
		}
	}
	if err == nil && r.hasBody() && res.Body != http.NoBody {
		res.Body = asyncCloser{res.Body}
	}
	return res, err
}

// asyncCloser is the body of a response whose Close does not wait. net/http's HTTP/2 waits there for a read of the
// request's body that is under way, and so for a client that may itself wait for the end of the response.
type asyncCloser struct{ io.ReadCloser }

// Close closes the body on another goroutine.
func (b asyncCloser) Close() error {
	go func() { _ = b.ReadCloser.Close() }()
	return nil
}

// backoffTime is how long a target that failed is passed over while others are available.
const backoffTime = 5 * time.Second

// hangs reports whether a request that timed out has waited since begun without the target responding to any other.
func (t *target) hangs(begun time.Time) bool { return t.responded.Load() < begun.UnixNano() }

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
	u, err := url.Parse(t.scheme + "://" + t.host + h.Path)
	if err != nil {
		return // cannot happen: the settings were checked
	}
	r := &Request{Method: http.MethodGet, Path: u.RequestURI(), Header: HTTPHeader{"User-Agent": {"sallyport-health"}}, host: t.host}
	if host != "" && host != TargetHost {
		r.host = host
	}
	life := lifetime.New(ctx)
	defer life.Cancel()
	res, err := t.roundTrip(life, r, time.Now())
	if err == nil {
		_ = res.Body.Close()
	}
	if IsExhausted(err) {
		return // this says nothing of the target
	}
	if err == nil && res.StatusCode >= 200 && res.StatusCode < 400 {
		t.failed = 0
	} else {
		t.failed++
	}
	t.unhealthy.Store(t.failed >= unhealthyAfter)
}

// newHTTP2Transport returns net/http's transport for one target that speaks HTTP/2. It uses no proxy from the
// environment, and asks for no encoding that the client did not ask for.
func newHTTP2Transport(d *dialer, timeout time.Duration) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(d.tls != nil)
	protocols.SetUnencryptedHTTP2(d.tls == nil)
	return &http.Transport{
		DialContext:            d.http2,
		DialTLSContext:         d.http2,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxIdleConns:           maxIdleConns,
		MaxIdleConnsPerHost:    maxIdleConns,
		IdleConnTimeout:        idleTimeout,
		ResponseHeaderTimeout:  timeout,
		ExpectContinueTimeout:  continueTimeout,
		MaxResponseHeaderBytes: MaxHeaderBytes,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
}
