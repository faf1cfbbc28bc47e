package upstream

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/proxy/internal/lifetime"
)

// newUpstream returns an upstream with targets, given as URLs.
func newUpstream(t *testing.T, c Config, targets ...string) *Upstream {
	t.Helper()
	for _, text := range targets {
		u, err := ParseTarget(text)
		if err != nil {
			t.Fatal(err)
		}
		c.Targets = append(c.Targets, u)
	}
	u := New(c)
	t.Cleanup(u.CloseIdleConnections)
	return u
}

// unusedAddress is an address on which nothing listens. No connection and no server gets this port by itself, as it may get
// one that was free a moment ago.
const unusedAddress = "127.0.0.1:1"

// send sends a request and returns the status, or the error.
func send(ctx context.Context, u *Upstream, method, body string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://app.example.com/", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	res, err := u.RoundTrip(lifetime.New(r.Context()), requestOf(r))
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

// TestUpstream_BacksOff checks that a target that could not be reached gets no requests for backoffTime.
func TestUpstream_BacksOff(t *testing.T) {
	good := httptest.NewServer(http.NotFoundHandler())
	defer good.Close()
	u := newUpstream(t, Config{Timeout: time.Minute}, good.URL, "http://"+unusedAddress) // the second target is tried first
	if code, err := send(t.Context(), u, "GET", ""); code != 404 || err != nil {
		t.Fatal(code, err)
	}
	bad := u.targets[1]
	if bad.available(time.Now()) || !bad.available(time.Now().Add(backoffTime)) {
		t.Error("the target is available during backoffTime, or not after it")
	}
	for range 4 { // a request with a body is not sent again
		if code, err := send(t.Context(), u, "POST", "x"); code != 404 || err != nil {
			t.Error(code, err)
		}
	}
}

// TestUpstream_Retries checks which requests are sent to another target after one failed.
func TestUpstream_Retries(t *testing.T) {
	good := httptest.NewServer(http.NotFoundHandler())
	defer good.Close()
	closes := newScriptedTarget(t) // closes each connection once it has read a request
	for _, c := range []struct {
		name, bad, method, body string
		ok                      bool
	}{
		{"unreachable_GET", unusedAddress, "GET", "", true},
		{"unreachable_DELETE", unusedAddress, "DELETE", "", true},
		{"unreachable_POST_with_body", unusedAddress, "POST", "x", false},
		{"closes_GET", closes.addr, "GET", "", true},
		{"closes_DELETE", closes.addr, "DELETE", "", false},
		{"closes_POST_with_body", closes.addr, "POST", "x", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUpstream(t, Config{Timeout: time.Minute}, good.URL, "http://"+c.bad)
			if _, err := send(t.Context(), u, c.method, c.body); (err == nil) != c.ok {
				t.Error(err)
			}
		})
	}
	t.Run("timeout", func(t *testing.T) {
		sent := 0
		for timeout := 20 * time.Millisecond; sent == 0; timeout *= 2 { // on a busy machine, the target reads nothing within a short one
			sent = requestsUntilTimeout(t, timeout)
		}
		if sent != 1 {
			t.Errorf("%d requests", sent)
		}
	})
}

// requestsUntilTimeout sends a request to two targets that do not respond, and returns how many requests they read.
func requestsUntilTimeout(t *testing.T, timeout time.Duration) int {
	t.Helper()
	var sent atomic.Int64
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { sent.Add(1); <-r.Context().Done() }))
	u := newUpstream(t, Config{Timeout: timeout}, slow.URL, slow.URL)
	if _, err := send(t.Context(), u, "GET", ""); !IsTimeout(err) {
		t.Error(err)
	}
	slow.Close() // waits for what it has read
	return int(sent.Load())
}

// TestUpstream_RoundRobin checks that targets take turns, and that an unhealthy target is used only if all are unhealthy.
func TestUpstream_RoundRobin(t *testing.T) {
	u := newUpstream(t, Config{}, "http://a", "http://b", "http://c")
	next := func() string { return u.pick(u.turn.Add(1), time.Now(), nil).host }
	if got := []string{next(), next(), next(), next()}; !slices.Equal(got, []string{"b", "c", "a", "b"}) {
		t.Error(got)
	}
	u.targets[2].unhealthy.Store(true)
	for range 6 {
		if next() == "c" {
			t.Error("an unhealthy target is used")
		}
	}
	for _, target := range u.targets {
		target.unhealthy.Store(true)
	}
	seen := map[string]bool{next(): true, next(): true, next(): true}
	if n, ok := u.Unhealthy(); len(seen) != 3 || n != 3 || ok {
		t.Error(seen, n, ok)
	}
}

// TestUpstream_CheckHealth checks when a target counts as unhealthy, how often it is checked, and which Host a check has.
func TestUpstream_CheckHealth(t *testing.T) {
	var status atomic.Int64
	var host atomic.Pointer[string]
	status.Store(200)
	checks := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		checks++
		host.Store(&r.Host)
		w.WriteHeader(int(status.Load()))
	}))
	defer s.Close()
	own := strings.TrimPrefix(s.URL, "http://")
	for configured, want := range map[string]string{"": "app.example.com", TargetHost: own, "other.example.com": "other.example.com"} {
		checks = 0
		status.Store(200)
		u := newUpstream(t, Config{Timeout: time.Minute, Host: configured, Health: &Health{Path: "/healthz", Every: time.Minute, Timeout: time.Second}}, s.URL)
		now := time.Now()
		changes := 0
		check := func(after time.Duration) int {
			now = now.Add(after)
			u.CheckHealth(t.Context(), now, "app.example.com", make(chan struct{}, 1), func(string, bool) { changes++ })
			n, _ := u.Unhealthy()
			return n
		}
		if check(0) != 0 || *host.Load() != want {
			t.Errorf("%q: the check has the Host %s", configured, *host.Load())
		}
		status.Store(500)
		if once, twice := check(time.Minute), check(time.Minute); once != 0 || twice != 1 || changes != 1 {
			t.Errorf("unhealthy after one failure: %d, after two: %d; %d changes", once, twice, changes)
		}
		status.Store(204)
		if soon := check(time.Second); soon != 1 || checks != 3 {
			t.Errorf("%d checks before the next was due", checks)
		}
		if healthy := check(time.Minute); healthy != 0 || changes != 2 {
			t.Errorf("still %d unhealthy; %d changes", healthy, changes)
		}
	}
}

// TestTarget_UsesNoProxy checks that no proxy from the environment sees the requests to an upstream.
func TestTarget_UsesNoProxy(t *testing.T) {
	for name := range map[string]bool{"HTTP_PROXY": true, "HTTPS_PROXY": true, "ALL_PROXY": true} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	if newHTTP2Transport(&dialer{tls: &tls.Config{}}, time.Second).Proxy != nil {
		t.Error("the transport uses a proxy")
	}
}

// TestRequest_NoRetryByTransport checks that net/http's transport does not see an Idempotency-Key, and that the header of
// the caller stays as it is.
func TestRequest_NoRetryByTransport(t *testing.T) {
	h := http.Header{"Idempotency-Key": {"1"}, "X-Idempotency-Key": {"2"}}
	r := (&Request{Method: "POST", Path: "/", Header: HTTPHeader(h)}).toHTTP(t.Context(), &target{scheme: "https", host: "x"})
	if r.Header["idempotency-key"][0] != "1" || r.Header["x-idempotency-key"][0] != "2" || len(r.Header) != 3 || r.Header.Get("User-Agent") != "" {
		t.Error(r.Header)
	}
	if len(h) != 2 || h.Get("Idempotency-Key") != "1" {
		t.Error(h)
	}
}
