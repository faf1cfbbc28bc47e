package proxy

import (
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"sallyport/proxy/internal/response"

	"github.com/prometheus/client_golang/prometheus"
)

// The values of the label route that are not names of routes.
const (
	routeNone     = "_none"     // the host is unknown, or the request invalid
	routeInternal = "_internal" // our own paths
)

// metrics are the metrics of the proxy. The values of every label come from a closed set.
type metrics struct {
	requests        *prometheus.CounterVec
	seconds         *prometheus.HistogramVec
	upstreamSeconds *prometheus.HistogramVec
	upstreamErrors  *prometheus.CounterVec
	live            *prometheus.GaugeVec
	cuts            *prometheus.CounterVec
	liveEnded       *prometheus.CounterVec
	decisions       *prometheus.CounterVec
	logins          *prometheus.CounterVec
	enforcement     prometheus.Histogram
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_" + name, Help: help}, labels)
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "sallyport_" + name, Help: help,
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}}, []string{"route"})
	}
	return &metrics{
		requests:        counter("http_requests_total", "Requests that ended.", "route", "method", "code"),
		seconds:         histogram("http_request_duration_seconds", "From the headers of a request to the last byte of the response."),
		upstreamSeconds: histogram("upstream_request_duration_seconds", "From forwarding a request to the headers of the upstream's response."),
		upstreamErrors:  counter("upstream_errors_total", "Requests that were let in and got no response from the upstream.", "route", "reason"),
		live: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sallyport_live_requests",
			Help: "Requests on a route that have not ended, including streams and WebSockets."}, []string{"route"}),
		cuts:      counter("cuts_total", "Live requests that were cut because they were no longer allowed.", "route", "reason"),
		liveEnded: counter("live_ended_total", "WebSockets, streams and other exchanges of over a second that ended, by who ended them.", "route", "by"),
		decisions: counter("decisions_total", "Requests that were allowed or denied.", "route", "decision", "reason"),
		logins:    counter("logins_total", "Logins that ended.", "result", "reason"),
		enforcement: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sallyport_offboarding_enforcement_seconds",
			Help:    "From receiving a change of the directory to the end of the last live request it no longer allows.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}}),
	}
}

// Collectors returns the metrics of the proxy.
func (p *Proxy) Collectors() []prometheus.Collector {
	m := p.metrics
	return []prometheus.Collector{m.requests, m.seconds, m.upstreamSeconds, m.upstreamErrors, m.live, m.cuts, m.liveEnded, m.decisions, m.logins, m.enforcement, targetsDown{p}}
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

// routeMetrics are the metrics of one route.
type routeMetrics struct {
	name            string
	all             *metrics
	live            prometheus.Gauge
	seconds         prometheus.Observer
	upstreamSeconds prometheus.Observer
	last            atomic.Pointer[lastDecision]
}

// route returns the metrics of the route with a name.
func (m *metrics) route(name string) *routeMetrics {
	return &routeMetrics{name: name, all: m, live: m.live.WithLabelValues(name), seconds: m.seconds.WithLabelValues(name),
		upstreamSeconds: m.upstreamSeconds.WithLabelValues(name)}
}

func (m *routeMetrics) countCut(reason Reason) {
	m.all.cuts.WithLabelValues(m.name, string(reason)).Inc()
}

func (m *routeMetrics) countEnd(by response.Cause) {
	m.all.liveEnded.WithLabelValues(m.name, string(by)).Inc()
}

func (m *routeMetrics) countUpstreamError(reason Reason) {
	m.all.upstreamErrors.WithLabelValues(m.name, string(reason)).Inc()
}

// countDecision counts a decision. Most decisions on a route are the same, and looking up a counter takes longer than
// deciding, so the counter that was used last is kept.
func (m *routeMetrics) countDecision(decision string, reason Reason) {
	if last := m.last.Load(); last != nil && last.decision == decision && last.reason == reason {
		last.Inc()
		return
	}
	c := m.all.decisions.WithLabelValues(m.name, decision, string(reason))
	m.last.Store(&lastDecision{decision, reason, c})
	c.Inc()
}

// lastDecision is the counter of the last decision.
type lastDecision struct {
	decision string
	reason   Reason
	prometheus.Counter
}

// countLogin counts a login that ended.
func (p *Proxy) countLogin(result, reason string) {
	p.metrics.logins.WithLabelValues(result, reason).Inc()
}

// count counts a request that ended.
func (p *Proxy) count(req *request, code int) {
	name := routeNone
	switch {
	case req.internal, req.authClient != nil:
		name = routeInternal
	case req.route != nil:
		name = req.route.name
	}
	if code == 0 {
		code = statusClientGone
	}
	p.metrics.requests.WithLabelValues(name, methodLabel(req.method), codeLabel(code)).Inc()
	p.metrics.seconds.WithLabelValues(name).Observe(time.Since(req.received).Seconds())
}

var knownMethods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodOptions, http.MethodTrace, http.MethodConnect}

// methodLabel returns a method as a label. Clients can invent methods, so unknown ones are "other".
func methodLabel(method string) string {
	if slices.Contains(knownMethods, method) {
		return method
	}
	return "other"
}

// codeLabel returns a status code as a label. Upstreams can invent codes, so unknown ones are "other".
func codeLabel(code int) string {
	if http.StatusText(code) == "" && code != statusClientGone {
		return "other"
	}
	return strconv.Itoa(code)
}
