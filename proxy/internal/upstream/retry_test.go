package upstream

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestUpstream_CanceledDialIsNoFailure checks that a client that leaves during dialing does not put a target into
// back-off, whichever transport dials.
func TestUpstream_CanceledDialIsNoFailure(t *testing.T) {
	for _, scheme := range []string{"http", "h2c"} { // sent over our transport and over net/http's
		u := newUpstream(t, Config{Timeout: time.Minute}, scheme+"://"+unusedAddress)
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		dialed := false
		target := u.targets[0]
		target.dialer.Control = func(string, string, syscall.RawConn) error { dialed = true; leave(); return nil }
		if _, err := send(ctx, u, "GET", ""); err == nil || !dialed {
			t.Fatalf("%s: dialed: %t, %v", scheme, dialed, err)
		}
		if !target.available(time.Now()) {
			t.Errorf("%s: the target counts as unreachable", scheme)
		}
	}
}

// sickTarget returns the URL of a target that closes the connection of every request. It counts the requests and calls
// received for each.
func sickTarget(t *testing.T, received func()) (url string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		requests.Add(1)
		received()
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

// TestUpstream_RetriesOnUntried checks that a retry goes to a target that was not tried, whatever other requests do
// meanwhile, and that a target whose connections break rests afterwards.
func TestUpstream_RetriesOnUntried(t *testing.T) {
	good := httptest.NewServer(http.NotFoundHandler())
	defer good.Close()
	var u *Upstream
	sick, requests := sickTarget(t, func() { u.turn.Add(2) }) // as two other requests would: the turn of three is the same again
	u = newUpstream(t, Config{Timeout: time.Minute}, good.URL, sick, good.URL)
	for i := range 6 {
		if code, err := send(t.Context(), u, "GET", ""); code != 404 || err != nil {
			t.Errorf("request %d: %d, %v", i, code, err)
		}
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("the sick target received %d requests, want 1 until it has rested", n)
	}
	if u.targets[1].available(time.Now()) || !u.targets[1].available(time.Now().Add(backoffTime)) {
		t.Error("the sick target is available during backoffTime, or not after it")
	}
}

// TestUpstream_PrefersAvailableToRetry checks that a retry leaves out targets that are not available, but uses them
// before the request fails.
func TestUpstream_PrefersAvailableToRetry(t *testing.T) {
	good := httptest.NewServer(http.NotFoundHandler())
	defer good.Close()
	sick, requests := sickTarget(t, func() {})
	u := newUpstream(t, Config{Timeout: time.Minute}, good.URL, sick, sick)
	u.targets[0].unhealthy.Store(true)
	if code, err := send(t.Context(), u, "GET", ""); code != 404 || err != nil || requests.Load() != 2 {
		t.Errorf("%d, %v after %d requests to the others", code, err, requests.Load())
	}
}

// TestUpstream_RequestIsNoFailure checks that a request that no target responds to does not put any into back-off: the
// request is to blame, and a client could send it in order to mark the targets as down. Nor does a request that is not
// sent again.
func TestUpstream_RequestIsNoFailure(t *testing.T) {
	sick, requests := sickTarget(t, func() {})
	u := newUpstream(t, Config{Timeout: time.Minute}, sick, sick)
	for _, method := range []string{"GET", "DELETE"} {
		if _, err := send(t.Context(), u, method, ""); err == nil {
			t.Errorf("%s: no error", method)
		}
	}
	if requests.Load() != 3 {
		t.Errorf("%d requests", requests.Load())
	}
	for i, target := range u.targets {
		if !target.available(time.Now()) {
			t.Errorf("target %d counts as unreachable", i)
		}
	}
}

// TestUpstream_HangingTargetRests checks that a target that responds to nothing gets no further requests for a while after
// one has waited until its timeout, and that a slow request to a target that responds to others says nothing of it.
func TestUpstream_HangingTargetRests(t *testing.T) {
	good := httptest.NewServer(http.NotFoundHandler())
	defer good.Close()
	hangs := newScriptedTarget(t, "", "", "") // no response
	u := newUpstream(t, Config{Timeout: time.Minute}, good.URL, "http://"+hangs.addr)
	u.targets[1].http1.timeout = 50 * time.Millisecond // that of the other is not to pass on a busy machine
	if _, err := send(t.Context(), u, "GET", ""); !IsTimeout(err) {
		t.Fatal(err)
	}
	for range 6 {
		if code, err := send(t.Context(), u, "GET", ""); code != 404 || err != nil {
			t.Error(code, err)
		}
	}
	timeout := 50 * time.Millisecond
	for !slowTargetStaysAvailable(t, timeout) {
		timeout *= 2
	}
}

// slowTargetStaysAvailable has a request wait until its timeout, and checks that its target stays available because it
// responded to another request meanwhile. It returns false if it did not, on a busy machine.
func slowTargetStaysAvailable(t *testing.T, timeout time.Duration) bool {
	t.Helper()
	var u *Upstream
	responded := make(chan time.Time, 1)
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == "PUT" {
			if _, err := send(t.Context(), u, "GET", ""); err == nil { // another request
				responded <- time.Now()
			}
			<-r.Context().Done()
		}
	}))
	u = newUpstream(t, Config{Timeout: timeout}, slow.URL)
	begun := time.Now()
	if _, err := send(t.Context(), u, "PUT", ""); !IsTimeout(err) {
		t.Fatal(err)
	}
	available := u.targets[0].available(time.Now())
	slow.Close() // waits for the other request
	select {
	case at := <-responded:
		if at.After(begun.Add(timeout)) {
			return false
		}
	default:
		return false
	}
	if !available {
		t.Error("a target that responds to other requests counts as hanging")
	}
	return true
}
