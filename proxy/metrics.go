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
	routeNone = "_none" // host unknown, or the request unreadable
	routeDoor = "_door" // the door's own paths
)

// numbers are what the proxy counts. Every label has its values from a closed set.
type numbers struct {
	requests        *prometheus.CounterVec
	seconds         *prometheus.HistogramVec
	upstreamSeconds *prometheus.HistogramVec
	upstreamErrors  *prometheus.CounterVec
	live            *prometheus.GaugeVec
	cuts            *prometheus.CounterVec
	decisions       *prometheus.CounterVec
	logins          *prometheus.CounterVec
	enforcement     prometheus.Histogram
	ill             *prometheus.GaugeVec
}

func newNumbers() *numbers {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_" + name, Help: help}, labels)
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "sallyport_" + name, Help: help,
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}}, []string{"route"})
	}
	return &numbers{
		ill: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sallyport_upstream_targets_down",
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
	n := p.numbers
	return []prometheus.Collector{n.requests, n.seconds, n.upstreamSeconds, n.upstreamErrors, n.live, n.cuts, n.decisions, n.logins, n.enforcement, n.ill}
}

// countIll counts the targets of each route that fail their health check.
func (n *numbers) countIll(t *table) {
	for _, r := range t.routes {
		if r.upstream.written.Health == nil {
			continue
		}
		down := 0
		for _, one := range r.upstream.targets {
			if one.unhealthy.Load() {
				down++
			}
		}
		n.ill.WithLabelValues(r.name).Set(float64(down))
	}
}

// routeNumbers are the numbers of one route.
type routeNumbers struct {
	name            string
	all             *numbers
	live            prometheus.Gauge
	seconds         prometheus.Observer
	upstreamSeconds prometheus.Observer
	usual           atomic.Pointer[lastDecision]
}

// route is the numbers of the route of that name.
func (n *numbers) route(name string) *routeNumbers {
	return &routeNumbers{name: name, all: n, live: n.live.WithLabelValues(name), seconds: n.seconds.WithLabelValues(name),
		upstreamSeconds: n.upstreamSeconds.WithLabelValues(name)}
}

func (n *routeNumbers) cut(reason string) { n.all.cuts.WithLabelValues(n.name, reason).Inc() }

func (n *routeNumbers) upstreamError(reason string) {
	n.all.upstreamErrors.WithLabelValues(n.name, reason).Inc()
}

func (n *routeNumbers) decided(decision, reason string) {
	if usual := n.usual.Load(); usual != nil && usual.decision == decision && usual.reason == reason {
		usual.Inc() // looking it up costs more than the decision
		return
	}
	c := n.all.decisions.WithLabelValues(n.name, decision, reason)
	n.usual.Store(&lastDecision{decision, reason, c})
	c.Inc()
}

// lastDecision is the counter that was used last.
type lastDecision struct {
	decision, reason string
	prometheus.Counter
}

// countLogin counts a login that came to an end.
func (p *Proxy) countLogin(result, reason string) {
	p.numbers.logins.WithLabelValues(result, reason).Inc()
}

// count counts a request that is over.
func (p *Proxy) count(v *visit, code int) {
	name := routeNone
	switch {
	case v.door, v.front != nil:
		name = routeDoor
	case v.route != nil:
		name = v.route.name
	}
	if code == 0 {
		code = statusClientGone
	}
	p.numbers.requests.WithLabelValues(name, methodLabel(v.method), codeLabel(code)).Inc()
	p.numbers.seconds.WithLabelValues(name).Observe(time.Since(v.received).Seconds())
}

var usualMethods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodOptions, http.MethodTrace, http.MethodConnect}

// methodLabel is a method as a label: callers can make up as many as they like.
func methodLabel(method string) string {
	if slices.Contains(usualMethods, method) {
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
