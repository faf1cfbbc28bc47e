package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
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

// member is one of several upstream servers of a route. Its health check can fail.
type backend struct {
	*httptest.Server
	asked     atomic.Int64 // requests other than health checks
	unhealthy atomic.Bool
}

func newBackend(t *testing.T) *backend {
	m := &backend{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			if m.unhealthy.Load() {
				rw.WriteHeader(http.StatusServiceUnavailable)
			}
			return
		}
		m.asked.Add(1)
		_, _ = io.Copy(rw, r.Body)
	}))
	t.Cleanup(m.Close)
	return m
}

// unusedAddress returns an address on which nothing listens.
func unusedAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestUpstream_RetriesOnAnother: if a server cannot be reached or closes before it responds, and only for requests that
// may be sent again.
func TestUpstream_RetriesOnAnother(t *testing.T) {
	good, hangsUp := newBackend(t), closingUpstream(t)
	for _, c := range []struct {
		says, bad, method, body string
		code                    int
	}{
		{"nobody listens, GET", unusedAddress(t), "GET", "", 200},
		{"nobody listens, DELETE", unusedAddress(t), "DELETE", "", 200},
		{"nobody listens, POST with a body", unusedAddress(t), "POST", "x", 502},
		{"it hangs up, GET", hangsUp, "GET", "", 200},
		{"it hangs up, DELETE", hangsUp, "DELETE", "", 502},
		{"it hangs up, POST with a body", hangsUp, "POST", "x", 502},
	} {
		t.Run(c.says, func(t *testing.T) {
			w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = Upstreams{good.URL, "http://" + c.bad} }) // the second is first
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

// TestUpstream_BacksOff: requests do not wait again for a server that cannot be reached.
func TestUpstream_BacksOff(t *testing.T) {
	good := newBackend(t)
	w := newWorld(t, func(s *Settings) { s.Routes[1].Upstream = Upstreams{good.URL, "http://" + unusedAddress(t)} })
	c := w.client(true)
	w.get(c, "https://"+openHost+"/")
	for range 4 { // with a body: these are not sent again
		r, err := http.NewRequestWithContext(w.ctx, "POST", "https://"+openHost+"/", strings.NewReader("x"))
		w.must(err)
		res, err := c.Do(r)
		w.must(err)
		if res.StatusCode != 200 {
			t.Errorf("%d", res.StatusCode)
		}
	}
}

func TestHealth(t *testing.T) {
	one, two := newBackend(t), newBackend(t)
	w := newWorld(t, func(s *Settings) {
		s.Routes[1].Upstream, s.Routes[1].Health = Upstreams{one.URL, two.URL}, &Health{Path: "/healthz", Every: time.Minute}
	})
	now := time.Now()
	check := func() {
		now = now.Add(time.Minute)
		w.proxy.checkHealth(w.ctx, now)
	}
	ask := func() (a, b int64) {
		before, beside := one.asked.Load(), two.asked.Load()
		for range 4 {
			w.get(w.client(true), "https://"+openHost+"/")
		}
		return one.asked.Load() - before, two.asked.Load() - beside
	}
	down := func() float64 { return w.metric("sallyport_upstream_targets_down", "route", "open") }
	check()
	if a, b := ask(); a != 2 || b != 2 || down() != 0 {
		t.Errorf("both are well: %d, %d, %v", a, b, down())
	}
	one.unhealthy.Store(true)
	check()
	if a, b := ask(); a != 2 || b != 2 {
		t.Errorf("once may be chance: %d, %d", a, b)
	}
	check()
	if a, b := ask(); a != 0 || b != 4 || down() != 1 {
		t.Errorf("one is ill: %d, %d, %v", a, b, down())
	}
	two.unhealthy.Store(true)
	check()
	check()
	if a, b := ask(); a != 2 || b != 2 || down() != 2 {
		t.Errorf("none is well, so all are asked: %d, %d, %v", a, b, down())
	}
	one.unhealthy.Store(false)
	w.proxy.checkHealth(w.ctx, now) // too early to ask again
	if down() != 2 {
		t.Error("asked more often than said")
	}
	check()
	if a, b := ask(); a != 4 || b != 0 || down() != 1 {
		t.Errorf("one is well again: %d, %d, %v", a, b, down())
	}
}

// TestRetries_EndWithRequest: no server is tried for a client that is gone.
func TestRetries_EndWithRequest(t *testing.T) {
	good := newBackend(t)
	u, err := newUpstream(Route{Upstream: Upstreams{good.URL, "http://" + unusedAddress(t)}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://x/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.RoundTrip(r); err == nil || good.asked.Load() != 0 {
		t.Errorf("%v, %d", err, good.asked.Load())
	}
}
