package main

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The load that is offered, whatever becomes of it.
const (
	pushesPerSecond   = 200
	requestsPerSecond = 2000
	loadLasts         = 10 * time.Second
)

// BenchmarkPushesBesideRequests pushes and asks at once, over TLS, on one real
// server: member changes of one group, changes of users and matching queries
// beside proxied requests of a signed-in user. It reports what was reached, the
// 50th and 99th percentile of both, and answers of 500 and above.
func BenchmarkPushesBesideRequests(b *testing.B) {
	s := newStage(b)
	for i := range 200 {
		s.push.hire(fmt.Sprintf("crowd%d", i), fmt.Sprintf("crowd-%d", i))
	}
	for b.Loop() {
		var all sync.WaitGroup
		var pushes, requests load
		all.Go(func() { pushes.offer(pushesPerSecond, s.pushOne) })
		all.Go(func() { requests.offer(requestsPerSecond, func(int) (int, error) { return s.askOne() }) })
		all.Wait()
		pushes.report(b, "push")
		requests.report(b, "request")
	}
}

// pushOne is what a provisioning cycle does, in turn.
func (s *stage) pushOne(n int) (int, error) {
	var status int
	var err error
	switch n % 4 {
	case 0:
		status, _, err = s.push.try("GET", fmt.Sprintf("/Users?filter=userName+eq+%%22crowd%d%%40example.com%%22", n%200), nil)
	case 1:
		status, _, err = s.push.try("POST", "/Users", map[string]any{"userName": fmt.Sprintf("load-%d-%d@example.com", time.Now().UnixNano(), n), "active": true})
	case 2:
		status, _, err = s.push.try("PATCH", "/Users/"+s.alice, patchOf(map[string]any{"op": "Replace", "path": "title", "value": fmt.Sprint(n)}))
	case 3:
		status, _, err = s.push.try("PATCH", "/Groups/"+s.group, patchOf(map[string]any{"op": "Add", "path": "members", "value": []any{map[string]any{"value": s.alice}}}))
	}
	return status, err
}

func (s *stage) askOne() (int, error) {
	resp, err := s.browser.client.Get("https://" + appHost + "/")
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// load is offered at an even pace, and what it took is written down.
type load struct {
	mu       sync.Mutex // guards took
	took     []time.Duration
	failures atomic.Int64
	elapsed  time.Duration
}

// offer does one, rate times a second, without waiting for the one before.
func (l *load) offer(rate int, one func(int) (int, error)) {
	begun := time.Now()
	var all sync.WaitGroup
	for n := range rate * int(loadLasts/time.Second) {
		due := begun.Add(time.Duration(n) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(due))
		all.Go(func() {
			status, err := one(n)
			if err != nil || status >= http.StatusInternalServerError {
				l.failures.Add(1)
			}
			l.mu.Lock()
			l.took = append(l.took, time.Since(due)) // from when it was due: a queue counts
			l.mu.Unlock()
		})
	}
	all.Wait()
	l.elapsed = time.Since(begun)
}

func (l *load) report(b *testing.B, name string) {
	slices.Sort(l.took)
	at := func(share float64) float64 {
		return float64(l.took[int(share*float64(len(l.took)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(float64(len(l.took))/l.elapsed.Seconds(), name+"/s")
	b.ReportMetric(at(0.5), name+"-p50-ms")
	b.ReportMetric(at(0.99), name+"-p99-ms")
	b.ReportMetric(float64(l.failures.Load()), name+"-5xx")
}
