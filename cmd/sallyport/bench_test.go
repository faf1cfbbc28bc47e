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

// The load that is offered, however long requests take.
const (
	pushesPerSecond   = 200
	requestsPerSecond = 2000
	loadLasts         = 10 * time.Second
)

// BenchmarkPushesBesideRequests pushes and sends proxied requests at the same time, over TLS, on one real server: changes
// of the members of one group, changes of users and filters, beside the requests of a signed-in user. It reports the
// rates that were reached, the 50th and 99th percentile of both, and the number of responses of 500 and above.
func BenchmarkPushesBesideRequests(b *testing.B) {
	s := newStage(b)
	for i := range 200 {
		s.push.hire(fmt.Sprintf("load%d", i), fmt.Sprintf("load-%d", i))
	}
	for b.Loop() {
		var all sync.WaitGroup
		var pushes, requests load
		all.Go(func() { pushes.offer(pushesPerSecond, s.pushOne) })
		all.Go(func() { requests.offer(requestsPerSecond, func(int) (int, error) { return s.requestOne() }) })
		all.Wait()
		pushes.report(b, "push")
		requests.report(b, "request")
	}
}

// pushOne sends one of the requests of a provisioning cycle, chosen by n.
func (s *stage) pushOne(n int) (int, error) {
	var status int
	var err error
	switch n % 4 {
	case 0:
		status, _, err = s.push.try("GET", fmt.Sprintf("/Users?filter=userName+eq+%%22load%d%%40example.com%%22", n%200), nil)
	case 1:
		status, _, err = s.push.try("POST", "/Users", map[string]any{"userName": fmt.Sprintf("load-%d-%d@example.com", time.Now().UnixNano(), n), "active": true})
	case 2:
		status, _, err = s.push.try("PATCH", "/Users/"+s.alice, patchOf(map[string]any{"op": "Replace", "path": "title", "value": fmt.Sprint(n)}))
	case 3:
		status, _, err = s.push.try("PATCH", "/Groups/"+s.group, patchOf(map[string]any{"op": "Add", "path": "members", "value": []any{map[string]any{"value": s.alice}}}))
	}
	return status, err
}

// requestOne sends one proxied request and returns its status.
func (s *stage) requestOne() (int, error) {
	resp, err := s.browser.client.Get("https://" + appHost + "/")
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// load offers requests at an even rate and records how long each took.
type load struct {
	mu       sync.Mutex // guards took
	took     []time.Duration
	failures atomic.Int64
	elapsed  time.Duration
}

// offer calls send rate times a second, without waiting for earlier calls.
func (l *load) offer(rate int, send func(int) (int, error)) {
	start := time.Now()
	var all sync.WaitGroup
	for n := range rate * int(loadLasts/time.Second) {
		due := start.Add(time.Duration(n) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(due))
		all.Go(func() {
			status, err := send(n)
			if err != nil || status >= http.StatusInternalServerError {
				l.failures.Add(1)
			}
			l.mu.Lock()
			l.took = append(l.took, time.Since(due)) // since it was due, so that waiting counts
			l.mu.Unlock()
		})
	}
	all.Wait()
	l.elapsed = time.Since(start)
}

func (l *load) report(b *testing.B, name string) {
	slices.Sort(l.took)
	percentile := func(share float64) float64 {
		return float64(l.took[int(share*float64(len(l.took)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(float64(len(l.took))/l.elapsed.Seconds(), name+"/s")
	b.ReportMetric(percentile(0.5), name+"-p50-ms")
	b.ReportMetric(percentile(0.99), name+"-p99-ms")
	b.ReportMetric(float64(l.failures.Load()), name+"-5xx")
}
