package grant

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Collectors returns the metrics of requests and grants.
func (g *Grants) Collectors() []prometheus.Collector {
	gauge := func(name, help string, value func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	return []prometheus.Collector{
		gauge("sallyport_grants_open", "Grants that let somebody in now.", func() int { grants, _ := g.Open(time.Now()); return grants }),
		gauge("sallyport_requests_open", "Requests for access that wait for a decision.", func() int { _, requests := g.Open(time.Now()); return requests }),
	}
}
