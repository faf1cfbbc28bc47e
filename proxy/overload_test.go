package proxy

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestOverload_DeniesBeyondLimit checks that requests beyond the limit are denied, and that the live ones complete.
func TestOverload_DeniesBeyondLimit(t *testing.T) {
	w := newWorld(t, func(s *Settings) { s.Limits.LiveRequests = 3 })
	arrived, release := make(chan struct{}), make(chan struct{})
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
		_, _ = io.WriteString(rw, "done")
	})
	codes := make(chan int)
	for range 3 {
		go func() {
			resp, _ := w.get(w.client(false), "https://"+openHost+"/")
			codes <- resp.StatusCode
		}()
		<-arrived
	}
	if resp, body := w.get(w.client(false), "https://"+openHost+"/"); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one request more than the limit: %d %s", resp.StatusCode, body)
	}
	close(release)
	for range 3 {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("a live request: %d", code)
		}
	}
	go func() { <-arrived }()
	if resp, _ := w.get(w.client(false), "https://"+openHost+"/"); resp.StatusCode != http.StatusOK {
		t.Errorf("a request afterwards: %d", resp.StatusCode)
	}
}

// TestOverload_HangingUpstreamSparesOtherRoutes checks that an upstream that hangs cannot use up the limit for other
// routes.
func TestOverload_HangingUpstreamSparesOtherRoutes(t *testing.T) {
	w := newWorld(t, func(s *Settings) { s.Limits.LiveRequests = 10 })
	_, cookie := w.signIn("alice", appHost)
	arrived, release := make(chan struct{}), make(chan struct{})
	w.setUpstream(func(_ http.ResponseWriter, r *http.Request) {
		if r.Host == openHost {
			arrived <- struct{}{}
			<-release
		}
	})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { w.get(w.client(false), "https://"+openHost+"/") })
		<-arrived
	}
	if resp, _ := w.get(w.client(false), "https://"+openHost+"/"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more request to the upstream that hangs: %d", resp.StatusCode)
	}
	if resp, _ := w.get(w.client(false), "https://"+appHost+"/", "Cookie", cookie); resp.StatusCode != http.StatusOK {
		t.Errorf("a request on another route: %d", resp.StatusCode)
	}
	close(release)
	all.Wait()
}

// TestOverload_NoFileDescriptors checks that a request for which no connection can be made because this process has no
// file descriptors left is 503, and that the upstream gets the next one.
func TestOverload_NoFileDescriptors(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client(true)
	w.get(c, "https://"+openHost+"/.sallyport/jwks.json") // connects
	var limit syscall.Rlimit
	w.must(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	none := limit
	none.Cur = 0
	for _, method := range []string{"GET", "POST"} {
		w.must(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none))
		r, err := http.NewRequestWithContext(w.ctx, method, "https://"+openHost+"/", strings.NewReader("x"))
		res, errDo := c.Do(r)
		w.must(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
		w.must(err)
		w.must(errDo)
		text, err := io.ReadAll(res.Body)
		w.must(err)
		_ = res.Body.Close()
		if res.StatusCode != 503 || !strings.Contains(string(text), string(overloaded)) || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", method, res.StatusCode, text)
		}
		if res, _ := w.get(c, "https://"+openHost+"/"); res.StatusCode != 200 {
			t.Errorf("%s: afterwards %d", method, res.StatusCode)
		}
		w.proxy.routing.Load().routes[1].upstream.CloseIdleConnections()
	}
}

// TestOverload_AuthenticatedKeepShare checks that anonymous requests cannot use up the limit for callers who are signed
// in or bring a bearer token.
func TestOverload_AuthenticatedKeepShare(t *testing.T) {
	w := newWorld(t, func(s *Settings) { s.Limits.LiveRequests = 8 })
	_, cookie := w.signIn("alice", appHost)
	arrived, release := make(chan struct{}), make(chan struct{})
	w.setUpstream(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	})
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() { w.get(w.client(false), "https://"+openHost+"/") })
		<-arrived
	}
	if resp, _ := w.get(w.client(false), "https://"+openHost+"/"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more anonymous request: %d", resp.StatusCode)
	}
	for range 2 {
		all.Go(func() {
			if resp, _ := w.get(w.client(false), "https://"+appHost+"/", "Cookie", cookie); resp.StatusCode != http.StatusOK {
				t.Errorf("a request of a caller who is signed in: %d", resp.StatusCode)
			}
		})
		<-arrived
	}
	if resp, _ := w.get(w.client(false), "https://"+appHost+"/", "Cookie", cookie); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one request more than the limit: %d", resp.StatusCode)
	}
	close(release)
	all.Wait()
}
