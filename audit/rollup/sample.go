package rollup

import (
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// SampleEvery is how often metrics are sampled.
const SampleEvery = 5 * time.Second

// The buckets of a histogram are half a power of two wide, from a quarter of a millisecond to a minute.
const (
	buckets     = 38
	lowestPower = -12 // of two, in seconds: the upper bound of the first bucket
)

// histogram counts requests by how long they took.
type histogram [buckets]uint32

// upper returns the upper bound of a bucket.
func upper(i int) time.Duration {
	return time.Duration(math.Exp2(lowestPower+float64(i)/2) * float64(time.Second))
}

// bucketOf returns the bucket for the bucket k of a native histogram of a schema, whose upper bound is 2^(k/2^schema).
func bucketOf(k, schema int) int {
	power := math.Ldexp(float64(k), -schema)
	return min(max(int(math.Ceil(2*(power-lowestPower)-1e-9)), 0), buckets-1)
}

// Metrics says what is sampled: which metric is which.
type Metrics struct {
	Gatherer prometheus.Gatherer
	Seconds  string   // a native histogram of how long requests took, by route
	Live     string   // a gauge by route
	Sessions string   // a gauge
	LeaveOut []string // routes
}

// Sample keeps what metrics say now.
func (r *Rollup) Sample(m Metrics) error {
	families, err := m.Gatherer.Gather()
	if err != nil {
		return err
	}
	var seconds histogram
	var live, sessions float64
	for _, family := range families {
		for _, one := range family.GetMetric() {
			for _, label := range one.GetLabel() {
				if label.GetName() == "route" && slices.Contains(m.LeaveOut, label.GetValue()) {
					one = nil
					break
				}
			}
			switch {
			case one == nil:
			case family.GetName() == m.Live:
				live += one.GetGauge().GetValue()
			case family.GetName() == m.Sessions:
				sessions += one.GetGauge().GetValue()
			case family.GetName() == m.Seconds:
				h := one.GetHistogram()
				seconds[0] += uint32(h.GetZeroCount()) //nolint:gosec // differences are used, which wrap around
				at, count, next := 0, int64(0), 0
				for _, span := range h.GetPositiveSpan() {
					at += int(span.GetOffset())
					for range span.GetLength() {
						count += h.GetPositiveDelta()[next]
						seconds[bucketOf(at, int(h.GetSchema()))] += uint32(count) //nolint:gosec // as above
						next, at = next+1, at+1
					}
				}
			}
		}
	}
	r.sample(seconds, int32(min(live, math.MaxInt32)), int32(min(sessions, math.MaxInt32)))
	return nil
}

// sample keeps how long all requests took so far, and how many are live.
func (r *Rollup) sample(seconds histogram, live, sessions int32) {
	now := r.now().Unix()
	r.mu.Lock()
	defer r.mu.Unlock()
	before, ok := r.seconds, r.sampled
	r.seconds, r.sampled = seconds, true
	for _, ring := range r.rings {
		s := ring.at(now)
		if s == nil { // the clock was set back
			continue
		}
		s.samples, s.live, s.sessions = true, max(s.live, live), max(s.sessions, sessions)
		if !ok {
			continue
		}
		for i := range seconds {
			if more := int32(seconds[i] - before[i]); more > 0 { //nolint:gosec // a histogram that begins anew gives less
				if s.seconds == nil {
					s.seconds = new(histogram)
				}
				s.seconds[i] += uint32(more) //nolint:gosec // positive
			}
		}
	}
}
