package bolt

import (
	"os"

	"github.com/prometheus/client_golang/prometheus"
)

// Why an update is refused by the store itself, as results of a transaction.
const (
	resultFailed = "failed" // a commit failed, this one or an earlier one from which the store has not recovered
	resultFull   = "full"
)

type metrics struct{ transactions *prometheus.CounterVec }

func newMetrics() *metrics {
	m := &metrics{prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_store_transactions_total",
		Help: "Transactions of the store by kind and result."}, []string{"kind", "result"})}
	for _, result := range []string{resultFailed, resultFull} { // so that an alert sees the first one
		m.transactions.WithLabelValues("update", result)
	}
	return m
}

func (m *metrics) count(kind, result string) { m.transactions.WithLabelValues(kind, result).Inc() }

func (m *metrics) refuse(result string, updates int) {
	m.transactions.WithLabelValues("update", result).Add(float64(updates))
}

// Collectors returns the store's metrics.
func (s *Store) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.metrics.transactions,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sallyport_store_size_bytes", Help: "Size of the store's file."}, s.size)}
}

func (s *Store) size() float64 {
	info, err := os.Stat(s.path)
	if err != nil {
		return 0
	}
	return float64(info.Size())
}
