package proxy

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Collectors returns the metrics of the proxy.
func (p *Proxy) Collectors() []prometheus.Collector {
	return append(p.metrics.Collectors(), targetsDown{p})
}

// targetsDown collects how many targets of each route fail their health check. It reads the settings in force at each
// scrape, so that routes and health checks that a reload removed leave no series behind.
type targetsDown struct{ proxy *Proxy }

var targetsDownDesc = prometheus.NewDesc("sallyport_upstream_targets_down", "Upstream servers of a route that fail their health check.", []string{"route"}, nil)

// Describe sends the description of the metric.
func (targetsDown) Describe(to chan<- *prometheus.Desc) { to <- targetsDownDesc }

// Collect sends one gauge for each route whose targets are checked.
func (c targetsDown) Collect(to chan<- prometheus.Metric) {
	for _, r := range c.proxy.routing.Load().routes {
		if down, ok := r.upstream.Unhealthy(); ok {
			to <- prometheus.MustNewConstMetric(targetsDownDesc, prometheus.GaugeValue, float64(down), r.name)
		}
	}
}

// count counts a request that has ended with a status code. A stream has taken as long as its headers took.
func (p *Proxy) count(req *request, code int) {
	took := req.streaming
	if took == 0 {
		took = time.Since(req.received)
	}
	switch {
	case req.internal, req.authClient != nil:
		p.metrics.Internal(req.method, code, took)
	case req.route != nil:
		req.route.metrics.Request(req.method, code, took)
	default:
		p.metrics.Unrouted(req.method, code, took)
	}
}
