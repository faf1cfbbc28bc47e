package proxy

import (
	"io"
	"net/http"
	"sync"
	"testing"
)

// TestOverload_DeniesBeyondLimit: requests beyond the limit are denied, and the live ones go on.
func TestOverload_DeniesBeyondLimit(t *testing.T) {
	w := newWorld(t, func(s *Settings) { s.Limits.LiveRequests = 3 })
	inside, leave := make(chan struct{}), make(chan struct{})
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
		inside <- struct{}{}
		<-leave
		_, _ = io.WriteString(rw, "done")
	})
	codes := make(chan int)
	for range 3 {
		go func() {
			resp, _ := w.get(w.client(false), "https://"+openHost+"/")
			codes <- resp.StatusCode
		}()
		<-inside
	}
	if resp, body := w.get(w.client(false), "https://"+openHost+"/"); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one more gives %d %s", resp.StatusCode, body)
	}
	close(leave)
	for range 3 {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("one that was under way gives %d", code)
		}
	}
	go func() { <-inside }()
	if resp, _ := w.get(w.client(false), "https://"+openHost+"/"); resp.StatusCode != http.StatusOK {
		t.Errorf("afterwards it gives %d", resp.StatusCode)
	}
}

// TestOverload_HangingUpstreamSparesOtherRoutes: other routes are still served.
func TestOverload_HangingUpstreamSparesOtherRoutes(t *testing.T) {
	w := newWorld(t, func(s *Settings) { s.Limits.LiveRequests = 10 })
	_, cookie := w.signIn("alice", appHost)
	inside, leave := make(chan struct{}), make(chan struct{})
	w.setUpstream(func(_ http.ResponseWriter, r *http.Request) {
		if r.Host == openHost {
			inside <- struct{}{}
			<-leave
		}
	})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { w.get(w.client(false), "https://"+openHost+"/") })
		<-inside
	}
	if resp, _ := w.get(w.client(false), "https://"+openHost+"/"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more to the upstream that hangs gives %d", resp.StatusCode)
	}
	if resp, _ := w.get(w.client(false), "https://"+appHost+"/", "Cookie", cookie); resp.StatusCode != http.StatusOK {
		t.Errorf("one to another gives %d", resp.StatusCode)
	}
	close(leave)
	all.Wait()
}
