package bolt

import (
	"os"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct{ transactions *prometheus.CounterVec }

func newMetrics() *metrics {
	return &metrics{prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_store_transactions_total",
		Help: "Transactions of the store by kind and result."}, []string{"kind", "result"})}
}

func (m *metrics) count(kind, result string) { m.transactions.WithLabelValues(kind, result).Inc() }

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
