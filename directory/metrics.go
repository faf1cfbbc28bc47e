package directory

import "github.com/prometheus/client_golang/prometheus"

type metrics struct{ users, groups, memberships, revision *prometheus.Desc }

func newMetrics() *metrics {
	return &metrics{
		users:       prometheus.NewDesc("sallyport_directory_users", "Users by state.", []string{"state"}, nil),
		groups:      prometheus.NewDesc("sallyport_directory_groups", "Groups.", nil, nil),
		memberships: prometheus.NewDesc("sallyport_directory_memberships", "Direct memberships.", nil, nil),
		revision:    prometheus.NewDesc("sallyport_directory_revision", "The store's revision that decisions are made from.", nil, nil),
	}
}

// Collectors returns the directory's metrics, which are counted on each scrape.
func (d *Directory) Collectors() []prometheus.Collector { return []prometheus.Collector{census{d}} }

// census counts the directory.
type census struct{ d *Directory }

// Describe implements prometheus.Collector.
func (c census) Describe(out chan<- *prometheus.Desc) {
	m := c.d.metrics
	for _, desc := range []*prometheus.Desc{m.users, m.groups, m.memberships, m.revision} {
		out <- desc
	}
}

// Collect implements prometheus.Collector.
func (c census) Collect(out chan<- prometheus.Metric) {
	active, inactive := c.d.Count()
	memberships := 0
	groups := c.d.Groups()
	for _, g := range groups {
		memberships += g.Members
	}
	m := c.d.metrics
	gauge := func(desc *prometheus.Desc, n int, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), labels...)
	}
	gauge(m.users, active, "active")
	gauge(m.users, inactive, "inactive")
	gauge(m.groups, len(groups))
	gauge(m.memberships, memberships)
	gauge(m.revision, int(c.d.Revision()))
}

// Count counts the users, by whether they are active.
func (d *Directory) Count() (active, inactive int) {
	users := d.index.Load().users
	for i := range users.shards {
		s := &users.shards[i]
		s.mu.RLock()
		for _, u := range s.users {
			if u.Active {
				active++
			} else {
				inactive++
			}
		}
		s.mu.RUnlock()
	}
	return active, inactive
}
