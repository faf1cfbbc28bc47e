package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"reflect"
	"sync"
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

type target struct {
	scheme, host string
	transport    *http.Transport
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
		t := target{scheme: at.Scheme, host: at.Host, transport: newTransport(w.Timeout, secure, at.Scheme)}
		if t.scheme == "h2c" {
			t.scheme = "http"
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
		t.transport.CloseIdleConnections()
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

// buffers are what answers are copied through.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return *buf
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(buf []byte) { b.pool.Put(&buf) }

// body is a request's, and remembers how reading it failed: then it was not the upstream's fault.
type body struct {
	io.ReadCloser
	failed atomic.Bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.failed.Store(true)
	}
	return n, err
}

// passage is one request's way to the upstream and back.
type passage struct {
	*visit
	proxy *Proxy
	live  *liveRequest
	reply *reply
	body  *body
	begun time.Time
}

// pass passes the request on and the answer back. It returns a refusal if the upstream gave no answer.
func (p *Proxy) pass(w *reply, r *http.Request, l *liveRequest) (x *refusal) {
	way := &passage{visit: l.visit, proxy: p, live: l, reply: w, begun: time.Now()}
	r = r.WithContext(l.ctx)
	if r.Body != nil && r.Body != http.NoBody {
		way.body = &body{ReadCloser: r.Body}
		r.Body = way.body
	}
	to := way.route.upstream.next()
	through := &httputil.ReverseProxy{
		Transport:      to.transport,
		Rewrite:        func(pr *httputil.ProxyRequest) { way.rewrite(pr, to) },
		ModifyResponse: way.answered,
		ErrorHandler:   func(_ http.ResponseWriter, _ *http.Request, err error) { x = way.failed(err) },
		BufferPool:     &p.buffers,
		FlushInterval:  flushEvery,
		ErrorLog:       p.quiet,
	}
	through.ServeHTTP(w, r)
	return x
}

// rewrite makes the request for the upstream out of the one that was decided on.
func (w *passage) rewrite(pr *httputil.ProxyRequest, to *target) {
	out := pr.Out
	out.URL = &url.URL{Scheme: to.scheme, Host: to.host, Opaque: w.path}
	if w.query != "" {
		out.URL.RawQuery, out.URL.ForceQuery = w.query[1:], true
	}
	out.Host = w.table.authority(w.host)
	out.Method = w.method
	out.Trailer = nil // they come after the decision
	keepWebSocket(pr.In, out)
	w.table.managed.strip(out.Header)
	if !w.route.pass {
		delete(out.Header, "Authorization")
	}
	if cookies, sent := out.Header["Cookie"]; sent {
		if out.Header["Cookie"] = withoutOurs(cookies); len(out.Header["Cookie"]) == 0 {
			delete(out.Header, "Cookie")
		}
	}
	w.setForwarded(out.Header)
	w.table.setIdentity(out.Header, w.route, w.caller)
	if name := w.table.headers.Assertion; name != "" && w.caller != nil {
		out.Header[name] = []string{w.proxy.assertions.of(w.caller.user, w.route, w.table.public.String(), w.received)}
	}
}

var errCut = errors.New("the request was cut")

// answered looks at the upstream's answer before the client sees any of it.
func (w *passage) answered(res *http.Response) error {
	w.route.numbers.upstreamSeconds.Observe(time.Since(w.begun).Seconds())
	if w.live.cutBy() != nil {
		return errCut
	}
	if res.StatusCode == http.StatusSwitchingProtocols && !acceptsWebSocket(res) {
		return errors.New("upstream switched to a protocol that nobody asked for")
	}
	cleanAnswer(res.Header)
	return nil
}

// failed says what to answer when the upstream did not.
func (w *passage) failed(err error) *refusal {
	var slow net.Error
	switch cut := w.live.cutBy(); {
	case cut != nil:
		return cut
	case w.body != nil && w.body.failed.Load():
		return refused(badRequest, fmt.Sprintf("reading the request's body: %v", err))
	case w.live.ctx.Err() != nil:
		return &refusal{status: statusClientGone, reason: clientGone}
	}
	reason := upstreamUnavailable
	if errors.As(err, &slow) && slow.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		reason = upstreamTimeout
	}
	w.route.numbers.upstreamError(reason)
	w.proxy.log.Warn("upstream gave no answer", "route", w.route.name, "err", err, "took", time.Since(w.begun))
	return refused(reason, err.Error())
}

// clientGone is no refusal: nobody is there to be told.
const (
	clientGone       = "client_gone"
	statusClientGone = 499
)
