package proxy

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/proxy/internal/metric"
	"sallyport/proxy/internal/trace"
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

// count counts a request that has ended with a status code, and ends its span. A stream has taken as long as its headers
// took.
func (p *Proxy) count(req *request, code int) {
	took := req.streaming
	if took == 0 {
		took = time.Since(req.received)
	}
	facts := trace.Facts{ID: req.id, Method: req.method, Host: req.host, Path: req.path, Code: code}
	switch exemplar := req.trace.Exemplar(); {
	case req.internal, req.authClient != nil:
		facts.Route = metric.RouteInternal
		p.metrics.Internal(req.method, code, took, exemplar)
	case req.route != nil:
		facts.Route = req.route.name
		req.route.metrics.Request(req.method, code, took, exemplar)
	default:
		facts.Route = metric.RouteNone
		p.metrics.Unrouted(req.method, code, took, exemplar)
	}
	req.trace.End(facts)
}
