package postgres

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	transactions *prometheus.CounterVec
	connections  prometheus.Counter
	renewals     prometheus.Counter
	lastRenewal  prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_store_transactions_total",
			Help: "Transactions of the store by kind and result."}, []string{"kind", "result"}),
		prometheus.NewCounter(prometheus.CounterOpts{Name: "sallyport_store_connections_total",
			Help: "Connections that were made to the database."}),
		prometheus.NewCounter(prometheus.CounterOpts{Name: "sallyport_store_lease_renewals_total",
			Help: "Renewals of the lease of this replica that succeeded."}),
		prometheus.NewGauge(prometheus.GaugeOpts{Name: "sallyport_store_lease_renewed_timestamp_seconds",
			Help: "When the lease of this replica was renewed last, in seconds since 1970."}),
	}
	m.transactions.WithLabelValues("update", "failed") // so that an alert sees the first one
	return m
}

func (m *metrics) count(kind, result string) { m.transactions.WithLabelValues(kind, result).Inc() }

// Collectors returns the store's metrics.
func (s *Store) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.metrics.transactions, s.metrics.connections, s.metrics.renewals, s.metrics.lastRenewal, replicaCollector{s}}
}

func (m *metrics) renewed() {
	m.renewals.Inc()
	m.lastRenewal.SetToCurrentTime()
}
