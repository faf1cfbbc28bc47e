// Package upstream sends requests to the servers behind the proxy: it balances them over the targets of a route, tries
// another target where that is safe, keeps connections open and checks the health of the targets.
//
// A request is sent a second time only if it cannot have had an effect: the target could not be reached, or the method
// is safe (RFC 9110 §9.2.1) and has no body. HTTP/1.1 is spoken by a transport of our own (http1.go), HTTP/2 by
// net/http's. A fuzz test holds ours to the reading of net/http's of any response that it does not reject.
package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/proxy/internal/lifetime"
)

const (
	dialTimeout    = 5 * time.Second
	idleTimeout    = 90 * time.Second
	maxIdleConns   = 256       // to one target
	MaxHeaderBytes = 256 << 10 // of the header of a response, and of an informational one
)

// Config describes an upstream.
type Config struct {
	Targets []*url.URL  // as [ParseTarget] returns them; at least one
	TLS     *tls.Config // for https targets; nil for the system's defaults
	Host    string      // the Host that targets are sent; "" keeps the request's, [TargetHost] is the target's own
	Timeout time.Duration
	Health  *Health // nil: the targets are not checked
}

// TargetHost as the Host of a [Config] sends each target its own host and port.
const TargetHost = "upstream"

// Health says how the targets of an upstream are checked.
type Health struct {
	Path    string
	Every   time.Duration
	Timeout time.Duration
}

// Upstream is one or more targets that serve the same requests.
type Upstream struct {
	targets []*target
	host    string
	health  *Health
	turn    atomic.Uint32 // of the round robin
}

// New returns an upstream. It connects to nothing.
func New(c Config) *Upstream {
	u := &Upstream{host: c.Host, health: c.Health}
	for _, t := range c.Targets {
		u.targets = append(u.targets, newTarget(t, c.Timeout, c.TLS))
	}
	return u
}

// ParseTarget returns the URL of a target: scheme, host and port, and nothing else. The caller checks the host.
func ParseTarget(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, errors.New("this is no URL; write for example http://127.0.0.1:3000")
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "h2c":
		return nil, fmt.Errorf("%q: an upstream speaks http, https or h2c", text)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return nil, fmt.Errorf("%q: write scheme, host and port alone; paths go to the upstream as they come", u.Redacted())
	}
	return u, nil
}

// RoundTrip sends a request to the next target. If that target cannot be reached, or fails before it responds, and the
// request may be sent again, RoundTrip tries the others, each once. It does not follow redirects. It ends with ctx.
//
// A target that cannot be reached is passed over for a while, and so is one that responds to nothing while a request waits
// until its timeout. So is one that fails before it responds, but only if
// another target responds to the same request: otherwise the request may be to blame, and clients could mark all targets
// as down. A connection for which this process or machine has no resources left says nothing of the target.
func (u *Upstream) RoundTrip(ctx *lifetime.Context, r *Request) (*http.Response, error) {
	r.pass = r.Informational
	defer r.end()
	turn := u.turn.Add(1)
	var tried, failed []*target
	for {
		begun := time.Now()
		t := u.pick(turn, begun, tried)
		r.host = u.hostOf(t, r)
		res, err := t.roundTrip(ctx, r, begun)
		if err == nil {
			t.responded.Store(time.Now().UnixNano())
			backOff(failed)
			if r.end(); r.ResponseHeader != nil && len(r.ResponseHeader) == 0 {
				maps.Copy(r.ResponseHeader, res.Header)
				res.Header = r.ResponseHeader
			}
			return res, nil
		}
		if ctx.Err() != nil {
			return nil, err // the client left, which says nothing of the target
		}
		tried = append(tried, t)
		if !IsExhausted(err) {
			failed = append(failed, t)
			if isUnreached(err) || IsTimeout(err) && t.hangs(begun) {
				t.backOff(time.Now())
			}
		}
		if len(tried) == len(u.targets) || !mayRepeat(r, err) {
			return nil, r.cause(err)
		}
	}
}

// mayRepeat reports whether r may be sent to another target after it failed with err.
func mayRepeat(r *Request, err error) bool {
	return !r.hasBody() && (isUnreached(err) || r.isSafe() && !IsTimeout(err))
}

func backOff(failed []*target) {
	for _, t := range failed {
		t.backOff(time.Now())
	}
}

// hostOf returns the Host that t is sent with r.
func (u *Upstream) hostOf(t *target, r *Request) string {
	switch u.host {
	case "":
		return r.Host
	case TargetHost:
		return t.host
	}
	return u.host
}

// pick returns the first target from turn on that has not failed the request and is available; if none is available, the
// first that has not failed it. At least one must not have failed it.
func (u *Upstream) pick(turn uint32, now time.Time, failed []*target) (picked *target) {
	n := len(u.targets)
	for i := range n {
		t := u.targets[(int(turn%uint32(n))+i)%n]
		switch {
		case slices.Contains(failed, t):
		case t.available(now):
			return t
		case picked == nil:
			picked = t
		}
	}
	return picked
}

// CheckHealth checks all targets that are due, in parallel, and returns when it has all results. It leaves out targets
// whose last check is still under way, so that calls may overlap. Each check takes a place in slots while it runs. It
// calls changed, possibly from several goroutines at once, for each target whose health is another than before. host is
// the Host that the checks ask for where the Config does not name one.
func (u *Upstream) CheckHealth(ctx context.Context, now time.Time, host string, slots chan struct{}, changed func(target string, healthy bool)) {
	if u.health == nil {
		return
	}
	if u.host != "" {
		host = u.host
	}
	var all sync.WaitGroup
	for _, t := range u.targets {
		if !t.beginCheck(now, u.health.Every) {
			continue
		}
		all.Go(func() {
			defer t.checking.Store(false)
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
			case <-ctx.Done():
				return
			}
			before := t.unhealthy.Load()
			t.check(ctx, u.health, host)
			if after := t.unhealthy.Load(); after != before && ctx.Err() == nil {
				changed(t.host, !after)
			}
		})
	}
	all.Wait()
}

// Unhealthy returns how many targets fail their health check. ok is false if targets are not checked.
func (u *Upstream) Unhealthy() (n int, ok bool) {
	for _, t := range u.targets {
		if t.unhealthy.Load() {
			n++
		}
	}
	return n, u.health != nil
}

// Available returns how many targets there are, and how many of them are passed over now: they fail their health check, or
// failed a moment ago.
func (u *Upstream) Available(now time.Time) (targets, down int) {
	for _, t := range u.targets {
		if !t.available(now) {
			down++
		}
	}
	return len(u.targets), down
}

// CloseIdleConnections closes the connections that wait for a request.
func (u *Upstream) CloseIdleConnections() {
	for _, t := range u.targets {
		if t.http1 != nil {
			t.http1.CloseIdleConnections()
		}
		if t.http2 != nil {
			t.http2.CloseIdleConnections()
		}
	}
}

// IsTimeout reports whether err says that a deadline passed.
func IsTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
