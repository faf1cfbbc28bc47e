package proxy

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/proxy/internal/lifetime"
	"sallyport/proxy/internal/upstream"
)

func TestUpstream_RoundRobin(t *testing.T) {
	var counts [2]atomic.Int64
	var urls Upstreams
	for i := range counts {
		s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { counts[i].Add(1) }))
		t.Cleanup(s.Close)
		urls = append(urls, s.URL)
	}
	w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = urls })
	c := w.client(true)
	for range 10 {
		w.get(c, "https://"+openHost+"/")
	}
	if a, b := counts[0].Load(), counts[1].Load(); a != 5 || b != 5 {
		t.Errorf("%d and %d", a, b)
	}
}

// backend is one of several upstream servers of a route. Its health check can be made to fail.
type backend struct {
	*httptest.Server
	requests  atomic.Int64 // other than health checks
	unhealthy atomic.Bool
}

func newBackend(t *testing.T) *backend {
	b := &backend{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			if b.unhealthy.Load() {
				rw.WriteHeader(http.StatusServiceUnavailable)
			}
			return
		}
		b.requests.Add(1)
		_, _ = io.Copy(rw, r.Body)
	}))
	t.Cleanup(b.Close)
	return b
}

// unusedAddress is an address on which nothing listens. No connection and no server gets this port by itself, as it may get
// one that was free a moment ago.
const unusedAddress = "127.0.0.1:1"

// TestUpstream_RetriesOnAnother checks that a request that may be sent twice goes to another server if the first cannot
// be reached or closes the connection before it responds.
func TestUpstream_RetriesOnAnother(t *testing.T) {
	good, closes := newBackend(t), closingUpstream(t)
	for _, c := range []struct {
		name, bad, method, body string
		code                    int
	}{
		{"unreachable_GET", unusedAddress, "GET", "", 200},
		{"unreachable_DELETE", unusedAddress, "DELETE", "", 200},
		{"unreachable_POST_with_body", unusedAddress, "POST", "x", 502},
		{"closes_GET", closes, "GET", "", 200},
		{"closes_DELETE", closes, "DELETE", "", 502},
		{"closes_POST_with_body", closes, "POST", "x", 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = Upstreams{good.URL, "http://" + c.bad} }) // the second is tried first
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

// TestUpstream_BacksOff checks that requests after the first are not sent to a server that cannot be reached.
func TestUpstream_BacksOff(t *testing.T) {
	good := newBackend(t)
	w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = Upstreams{good.URL, "http://" + unusedAddress} })
	c := w.client(true)
	w.get(c, "https://"+openHost+"/")
	for range 4 { // a request with a body is not sent again
		r, err := http.NewRequestWithContext(w.ctx, "POST", "https://"+openHost+"/", strings.NewReader("x"))
		w.must(err)
		res, err := c.Do(r)
		w.must(err)
		if res.StatusCode != 200 {
			t.Errorf("%d", res.StatusCode)
		}
	}
}

// TestHealth_SkipsUnhealthy checks that requests avoid a server after two failed health checks, until it is healthy
// again or no server is healthy.
func TestHealth_SkipsUnhealthy(t *testing.T) {
	one, two := newBackend(t), newBackend(t)
	w := newWorld(t, func(s *Settings) {
		s.Routes[1].Upstream, s.Routes[1].Health = Upstreams{one.URL, two.URL}, &Health{Path: "/healthz", Every: time.Minute}
	})
	now := time.Now()
	check := func() {
		now = now.Add(time.Minute)
		w.proxy.checkHealth(w.ctx, now)
	}
	send := func() (toOne, toTwo int64) {
		before, beforeTwo := one.requests.Load(), two.requests.Load()
		for range 4 {
			w.get(w.client(true), "https://"+openHost+"/")
		}
		return one.requests.Load() - before, two.requests.Load() - beforeTwo
	}
	down := func() float64 { return w.metric("sallyport_upstream_targets_down", "route", "open") }
	check()
	if a, b := send(); a != 2 || b != 2 || down() != 0 {
		t.Errorf("both healthy: %d, %d, %v", a, b, down())
	}
	one.unhealthy.Store(true)
	check()
	if a, b := send(); a != 2 || b != 2 {
		t.Errorf("one failed once: %d, %d", a, b)
	}
	check()
	if a, b := send(); a != 0 || b != 4 || down() != 1 {
		t.Errorf("one is unhealthy: %d, %d, %v", a, b, down())
	}
	two.unhealthy.Store(true)
	check()
	check()
	if a, b := send(); a != 2 || b != 2 || down() != 2 {
		t.Errorf("none is healthy: %d, %d, %v", a, b, down())
	}
	one.unhealthy.Store(false)
	w.proxy.checkHealth(w.ctx, now) // the next check is not due
	if down() != 2 {
		t.Error("checked more often than configured")
	}
	check()
	if a, b := send(); a != 4 || b != 0 || down() != 1 {
		t.Errorf("one is healthy again: %d, %d, %v", a, b, down())
	}
}

// TestUpstream_NoRetryAfterCancel checks that no other server is tried for a request whose client is gone.
func TestUpstream_NoRetryAfterCancel(t *testing.T) {
	good := newBackend(t)
	u, err := newUpstream(Route{Upstream: Upstreams{good.URL, "http://" + unusedAddress}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := u.RoundTrip(lifetime.New(ctx), &upstream.Request{Method: http.MethodGet, Host: "x", Path: "/"}); err == nil || good.requests.Load() != 0 {
		t.Errorf("%v, %d", err, good.requests.Load())
	}
}

// TestHealth_SlowTargetDelaysNoOther checks that the targets of other routes are checked while a check is under way.
func TestHealth_SlowTargetDelaysNoOther(t *testing.T) {
	t.Parallel() // it waits
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(slow.Close)
	t.Cleanup(func() { close(release) })
	checks := make(chan struct{}, 100)
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { checks <- struct{}{} }))
	t.Cleanup(other.Close)
	newWorld(t, func(s *Settings) {
		s.Routes[0].Upstream, s.Routes[0].Health = Upstreams{slow.URL}, &Health{Path: "/", Every: time.Second, Timeout: 30 * time.Second}
		s.Routes[1].Upstream, s.Routes[1].Health = Upstreams{other.URL}, &Health{Path: "/", Every: time.Second}
	})
	for range 2 {
		await(t, "the other target is checked", checks)
	}
}
