package oidc

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Collectors returns the metrics of the provider.
func (p *Provider) Collectors() []prometheus.Collector {
	return []prometheus.Collector{p.metrics.verifications, p.metrics.refreshes}
}

type metrics struct {
	verifications, refreshes *prometheus.CounterVec
	valid                    func() prometheus.Counter // of verifications; most are of valid tokens
}

func newMetrics() *metrics {
	m := &metrics{
		verifications: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_jwt_verifications_total",
			Help: "Tokens checked, by result (ok, refused, error) and reason."}, []string{"result", "reason"}),
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_jwks_refreshes_total",
			Help: "Fetches of the identity provider's keys, by result (ok, error)."}, []string{"result"}),
	}
	m.valid = sync.OnceValue(func() prometheus.Counter { return m.verifications.WithLabelValues("ok", "") })
	return m
}

func (m *metrics) refreshed(result string) { m.refreshes.WithLabelValues(result).Inc() }

// verified counts the result of one verification.
func (m *metrics) verified(err error) {
	if err == nil {
		m.valid().Inc()
		return
	}
	var r *Refusal // is on the heap, for errors.As
	switch {
	case errors.As(err, &r):
		m.verifications.WithLabelValues("refused", string(r.Reason)).Inc()
	default:
		m.verifications.WithLabelValues("error", "").Inc()
	}
}
