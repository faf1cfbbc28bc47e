package proxy

import (
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Values of the label route that are no route's name.
const (
	routeNone     = "_none" // host unknown, or the request unreadable
	routeInternal = "_door" // the door's own paths
)

// numbers are what the proxy counts. Every label has its values from a closed set.
type metrics struct {
	requests        *prometheus.CounterVec
	seconds         *prometheus.HistogramVec
	upstreamSeconds *prometheus.HistogramVec
	upstreamErrors  *prometheus.CounterVec
	live            *prometheus.GaugeVec
	cuts            *prometheus.CounterVec
	decisions       *prometheus.CounterVec
	logins          *prometheus.CounterVec
	enforcement     prometheus.Histogram
	targetsDown     *prometheus.GaugeVec
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
		targetsDown: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sallyport_upstream_targets_down",
			Help: "Places a route leads to that fail their health check."}, []string{"route"}),
		requests:        counter("http_requests_total", "Requests answered.", "route", "method", "code"),
		seconds:         histogram("http_request_duration_seconds", "From a request's headers to the last byte of its answer."),
		upstreamSeconds: histogram("upstream_request_duration_seconds", "From passing a request on to the headers of the upstream's answer."),
		upstreamErrors:  counter("upstream_errors_total", "Requests let in that the upstream did not answer.", "route", "reason"),
		live: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sallyport_live_requests",
			Help: "Requests on a route that are not over, streams and sockets among them."}, []string{"route"}),
		cuts:      counter("cuts_total", "Live requests ended because they were no longer allowed.", "route", "reason"),
		decisions: counter("decisions_total", "Requests let in or turned away.", "route", "decision", "reason"),
		logins:    counter("logins_total", "Logins that came to an end.", "result", "reason"),
		enforcement: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sallyport_offboarding_enforcement_seconds",
			Help:    "From receiving a change of the directory to the end of the last live request it no longer allows.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}}),
	}
}

// Collectors are the proxy's metrics.
func (p *Proxy) Collectors() []prometheus.Collector {
	m := p.metrics
	return []prometheus.Collector{m.requests, m.seconds, m.upstreamSeconds, m.upstreamErrors, m.live, m.cuts, m.decisions, m.logins, m.enforcement, m.targetsDown}
}

// countIll counts the targets of each route that fail their health check.
func (m *metrics) countTargetsDown(rt *routing) {
	for _, r := range rt.routes {
		if down, ok := r.upstream.Unhealthy(); ok {
			m.targetsDown.WithLabelValues(r.name).Set(float64(down))
		}
	}
}

// routeNumbers are the numbers of one route.
type routeMetrics struct {
	name            string
	all             *metrics
	live            prometheus.Gauge
	seconds         prometheus.Observer
	upstreamSeconds prometheus.Observer
	last            atomic.Pointer[lastDecision]
}

// route is the numbers of the route of that name.
func (m *metrics) route(name string) *routeMetrics {
	return &routeMetrics{name: name, all: m, live: m.live.WithLabelValues(name), seconds: m.seconds.WithLabelValues(name),
		upstreamSeconds: m.upstreamSeconds.WithLabelValues(name)}
}

func (m *routeMetrics) countCut(reason string) { m.all.cuts.WithLabelValues(m.name, reason).Inc() }

func (m *routeMetrics) countUpstreamError(reason string) {
	m.all.upstreamErrors.WithLabelValues(m.name, reason).Inc()
}

func (m *routeMetrics) countDecision(decision, reason string) {
	if usual := m.last.Load(); usual != nil && usual.decision == decision && usual.reason == reason {
		usual.Inc() // looking it up costs more than the decision
		return
	}
	c := m.all.decisions.WithLabelValues(m.name, decision, reason)
	m.last.Store(&lastDecision{decision, reason, c})
	c.Inc()
}

// lastDecision is the counter that was used last.
type lastDecision struct {
	decision, reason string
	prometheus.Counter
}

// countLogin counts a login that came to an end.
func (p *Proxy) countLogin(result, reason string) {
	p.metrics.logins.WithLabelValues(result, reason).Inc()
}

// count counts a request that is over.
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

// methodLabel is a method as a label: callers can make up as many as they like.
func methodLabel(method string) string {
	if slices.Contains(knownMethods, method) {
		return method
	}
	return "other"
}

// codeLabel is an answer's code as a label: upstreams can make up many.
func codeLabel(code int) string {
	if http.StatusText(code) == "" && code != statusClientGone {
		return "other"
	}
	return strconv.Itoa(code)
}
