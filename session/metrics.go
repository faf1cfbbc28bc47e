package session

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func newEndedCounter() *prometheus.CounterVec {
	ended := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_sessions_ended_total",
		Help: "Sessions that ended, by the reason why."}, []string{"reason"})
	for _, r := range Reasons() {
		ended.WithLabelValues(string(r))
	}
	return ended
}

// count counts sessions that have ended, each once: one that ended with its user does not expire as well.
func (s *Sessions) count(reason Reason, ids ...string) {
	for _, id := range ids {
		e := s.entry(id)
		if e != nil && e.counted.Swap(true) { // a session beyond the limit may be deleted already
			continue
		}
		s.ended.WithLabelValues(string(reason)).Inc()
		if e != nil && reason == ReasonUser {
			s.tell(e)
		}
	}
}

// tell calls the function of TellOfUsers with a session that ended with its user. No lock is held.
func (s *Sessions) tell(e *entry) {
	if s.endedWithUser != nil {
		ended := e.record.Load().Session
		ended.Used = time.Unix(0, max(ended.Used.UnixNano(), e.used.get())).UTC()
		s.endedWithUser(ended)
	}
}

// Collectors returns the metrics sallyport_sessions_active, sallyport_sessions_ended_total{reason} and
// sallyport_breakglass_sessions.
func (s *Sessions) Collectors() []prometheus.Collector {
	active := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sallyport_sessions_active",
		Help: "Sessions that are live now."}, func() float64 { return float64(s.active(func(*Session) bool { return true })) })
	breakGlass := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sallyport_breakglass_sessions",
		Help: "Live sessions that began by a break-glass code."}, func() float64 { return float64(s.active((*Session).IsBreakGlass)) })
	return []prometheus.Collector{active, s.ended, breakGlass}
}

// Count returns how many sessions are live.
func (s *Sessions) Count() int { return s.active(func(*Session) bool { return true }) }

// active returns how many live sessions are such as counts reports.
func (s *Sessions) active(counts func(*Session) bool) (n int) {
	now := s.clock.now()
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.memory.sessions {
		if r := e.record.Load(); !e.counted.Load() && s.check(e, r, now) == nil && counts(&r.Session) {
			n++
		}
	}
	return n
}
