package proxy

import (
	"io"
	"net/http"
	"sync"
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
