package session

import "github.com/prometheus/client_golang/prometheus"

func newEndedCounter() *prometheus.CounterVec {
	ended := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_sessions_ended_total",
		Help: "Sessions that ended, by the reason why."}, []string{"reason"})
	for _, r := range Reasons() {
		ended.WithLabelValues(string(r))
	}
	return ended
}

func (s *Sessions) count(reason Reason, n int) {
	s.ended.WithLabelValues(string(reason)).Add(float64(n))
}

// Collectors returns the metrics sallyport_sessions_active and sallyport_sessions_ended_total{reason}.
func (s *Sessions) Collectors() []prometheus.Collector {
	active := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sallyport_sessions_active",
		Help: "Sessions that are live now."}, func() float64 { return float64(s.active()) })
	return []prometheus.Collector{active, s.ended}
}

func (s *Sessions) active() (n int) {
	now := s.clock.now()
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.memory.sessions {
		if s.check(e, e.record.Load(), now) == nil {
			n++
		}
	}
	return n
}
