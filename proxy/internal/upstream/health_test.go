package upstream

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestUpstream_CheckHealthOverlaps checks that a check that is under way delays no check of another target, and that its
// own target is not checked a second time meanwhile.
func TestUpstream_CheckHealthOverlaps(t *testing.T) {
	var slow, fast atomic.Int64
	begun, release := make(chan struct{}), make(chan struct{})
	slowServer := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if slow.Add(1) == 1 {
			close(begun)
		}
		<-release
	}))
	defer slowServer.Close()
	fastServer := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fast.Add(1) }))
	defer fastServer.Close()
	u := newUpstream(t, Config{Timeout: time.Minute, Health: &Health{Path: "/", Every: time.Second, Timeout: time.Minute}}, slowServer.URL, fastServer.URL)
	slots, now := make(chan struct{}, 2), time.Now()
	var first sync.WaitGroup
	first.Go(func() { u.CheckHealth(t.Context(), now, "", slots, func(string, bool) {}) })
	<-begun
	for round := 1; fast.Load() < 3; round++ {
		u.CheckHealth(t.Context(), now.Add(time.Duration(round)*time.Second), "", slots, func(string, bool) {})
		if round > 10_000 {
			t.Fatalf("the other target was checked %d times", fast.Load())
		}
		time.Sleep(time.Millisecond) // its first check may be under way
	}
	if slow.Load() != 1 {
		t.Errorf("the slow target was checked %d times", slow.Load())
	}
	close(release)
	first.Wait()
	if u.CheckHealth(t.Context(), now.Add(time.Hour), "", slots, func(string, bool) {}); slow.Load() != 2 {
		t.Errorf("the slow target was checked %d times", slow.Load())
	}
}

// TestUpstream_CheckHealthIsBounded checks that no more targets are checked at once than slots has places.
func TestUpstream_CheckHealthIsBounded(t *testing.T) {
	var now, most, all atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		all.Add(1)
		time.Sleep(time.Millisecond)
		now.Add(-1)
	}))
	defer s.Close()
	u := newUpstream(t, Config{Timeout: time.Minute, Health: &Health{Path: "/", Every: time.Second, Timeout: time.Minute}}, s.URL, s.URL, s.URL, s.URL, s.URL, s.URL)
	u.CheckHealth(t.Context(), time.Now(), "", make(chan struct{}, 2), func(string, bool) {})
	if most.Load() > 2 || all.Load() != 6 {
		t.Errorf("%d checks, %d at once", all.Load(), most.Load())
	}
}
