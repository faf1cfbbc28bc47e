package proxy

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"sync/atomic"
	"time"

	"sallyport/proxy/internal/canonical"
)

const (
	dialTimeout   = 5 * time.Second
	idleTimeout   = 90 * time.Second
	idlePerTarget = 256       // kept connections to one target
	answerHeaders = 256 << 10 // bytes of an upstream's headers
)

// upstream is what a route leads to: one or more targets that take turns.
type upstream struct {
	written Route             // what it was made of
	files   [sha256.Size]byte // and what was in the files it names
	targets []*target
	turn    atomic.Uint32
	live    atomic.Int64 // requests under way
}

// newUpstream makes the upstream of a route; it connects to nothing.
func newUpstream(w Route) (*upstream, error) {
	secure, files, err := w.UpstreamTLS.read()
	if err != nil {
		return nil, err
	}
	u := &upstream{written: upstreamPart(w), files: files}
	for _, text := range w.Upstream {
		at, err := parseUpstream(text)
		if err != nil {
			return nil, err
		}
		u.targets = append(u.targets, newTarget(at, u.written.Timeout, secure))
	}
	return u, nil
}

// full says whether the upstream has its share of most requests already: where it is not the only one and hangs, the
// others have room all the same.
func (u *upstream) full(rt *routing) bool {
	return len(rt.routes) > 1 && u.live.Load() >= int64(rt.maxLive-rt.maxLive/5)
}

// upstreamPart is what of a route its upstream depends on.
func upstreamPart(w Route) Route {
	part := Route{Name: w.Name, Upstream: w.Upstream, UpstreamTLS: w.UpstreamTLS, UpstreamHost: w.UpstreamHost, Timeout: cmp.Or(w.Timeout, defaultTimeout)}
	if w.Health != nil {
		part.Health = &Health{Path: w.Health.Path, Every: cmp.Or(w.Health.Every, defaultHealthEvery), Timeout: cmp.Or(w.Health.Timeout, defaultHealthTimeout)}
	}
	return part
}

// same says whether an upstream made of w now would be like u.
func (u *upstream) same(w Route) bool {
	if !reflect.DeepEqual(u.written, upstreamPart(w)) {
		return false
	}
	_, files, err := w.UpstreamTLS.read()
	return err == nil && files == u.files
}

// RoundTrip sends a request to the target whose turn it is, and to the others if that cannot be reached or breaks off
// before it answers, as far as the request may be sent again.
func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	bodyless := r.Body == nil || r.Body == http.NoBody
	for tried := 1; ; tried++ {
		t := u.next(time.Now())
		res, err := t.RoundTrip(u.aim(r, t))
		if err == nil {
			return res, nil
		}
		unreached := isDial(err)
		if unreached {
			t.rest(time.Now())
		}
		if tried == len(u.targets) || !bodyless || r.Context().Err() != nil || !unreached && (!repeatable(r.Method) || isTimeout(err)) {
			return nil, err
		}
	}
}

// aim is r as it goes to t.
func (u *upstream) aim(r *http.Request, t *target) *http.Request {
	out, to := *r, *r.URL
	to.Scheme, to.Host, out.URL = t.scheme, t.host, &to
	switch u.written.UpstreamHost {
	case "", publicHost:
	case upstreamsHost:
		out.Host = t.host
	default:
		out.Host = u.written.UpstreamHost
	}
	return &out
}

// repeatable says whether a request of a method may be sent twice (RFC 9110 §9.2.1).
func repeatable(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions || method == http.MethodTrace
}

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// next is the target whose turn it is, of those that are well; of all, if none is.
func (u *upstream) next(now time.Time) *target {
	turn := int(u.turn.Add(1))
	for i := range u.targets {
		if t := u.targets[(turn+i)%len(u.targets)]; t.well(now) {
			return t
		}
	}
	return u.targets[turn%len(u.targets)]
}

func (u *upstream) closeIdle() {
	for _, t := range u.targets {
		t.closeIdle()
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
	if _, err := canonical.Host(u.Host); err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	return u, nil
}
