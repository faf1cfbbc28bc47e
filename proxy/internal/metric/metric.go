// Package metric counts and measures the requests of the proxy. The values of every label come from a closed set, and no
// client or upstream can add one.
//
// Every histogram has buckets of its own and is a native histogram too: a Prometheus that scrapes native histograms gets
// quantiles that are exact to a tenth, any other the buckets.
package metric

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The values of the label route that are not names of routes.
const (
	RouteNone     = "_none"     // the host is unknown, or the request invalid
	RouteInternal = "_internal" // our own paths
)

// StatusClientGone is the code that access logs have for a client that closed its connection before the response.
const StatusClientGone = 499

// Metrics are the metrics of the proxy.
type Metrics struct {
	requests        *prometheus.CounterVec
	seconds         *prometheus.HistogramVec
	upstreamSeconds *prometheus.HistogramVec
	liveSeconds     *prometheus.HistogramVec
	upstreamErrors  *prometheus.CounterVec
	live            *prometheus.GaugeVec
	cuts            *prometheus.CounterVec
	liveEnded       *prometheus.CounterVec
	decisions       *prometheus.CounterVec
	logins          *prometheus.CounterVec
	enforcement     prometheus.Histogram
	none, internal  ended
}

var (
	requestBuckets     = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	liveBuckets        = []float64{1, 10, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600}
	enforcementBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
)

// New returns metrics that have counted nothing.
func New() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_" + name, Help: help}, labels)
	}
	byRoute := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(histogram(name, help, buckets), []string{"route"})
	}
	m := &Metrics{
		requests: counter("http_requests_total", "Requests that ended.", "route", "method", "code"),
		seconds: byRoute("http_request_duration_seconds", "From the headers of a request to the last byte of the response; of a WebSocket or stream, to the headers of the response.",
			requestBuckets),
		upstreamSeconds: byRoute("upstream_request_duration_seconds", "From forwarding a request to the headers of the upstream's response.", requestBuckets),
		liveSeconds:     byRoute("live_duration_seconds", "From forwarding a request to the end of its WebSocket or stream.", liveBuckets),
		upstreamErrors:  counter("upstream_errors_total", "Requests that were let in and got no response from the upstream.", "route", "reason"),
		live: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sallyport_live_requests",
			Help: "Requests on a route that have not ended, including streams and WebSockets."}, []string{"route"}),
		cuts:      counter("cuts_total", "Live requests that were cut because they were no longer allowed.", "route", "reason"),
		liveEnded: counter("live_ended_total", "WebSockets, streams and other exchanges of over a second that ended, by who ended them.", "route", "by"),
		decisions: counter("decisions_total", "Requests that were allowed or denied.", "route", "decision", "reason"),
		logins:    counter("logins_total", "Logins that ended.", "result", "reason"),
		enforcement: prometheus.NewHistogram(histogram("offboarding_enforcement_seconds",
			"From receiving a change of the directory to the end of the last live request it no longer allows.", enforcementBuckets)),
	}
	m.none.init(m, RouteNone)
	m.internal.init(m, RouteInternal)
	return m
}

// histogram returns the options of a histogram that is a native one too.
func histogram(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{Name: "sallyport_" + name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour}
}

// Collectors returns the metrics for a registry.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.seconds, m.upstreamSeconds, m.liveSeconds, m.upstreamErrors, m.live, m.cuts, m.liveEnded, m.decisions,
		m.logins, m.enforcement}
}

// Login counts a login that ended.
func (m *Metrics) Login(result, reason string) { m.logins.WithLabelValues(result, reason).Inc() }

// Enforced measures how long a change of the directory took to end the last live request that it no longer allows.
func (m *Metrics) Enforced(took time.Duration) { m.enforcement.Observe(took.Seconds()) }

// Internal counts a request to a path of ours that ended, by its method and the code of its response. The id of an
// exported trace makes it an example of how long requests take; it may be "", here and below.
func (m *Metrics) Internal(method string, code int, took time.Duration, trace string) {
	m.internal.count(method, code, took, trace)
}

// Unrouted counts a request that ended and had no route.
func (m *Metrics) Unrouted(method string, code int, took time.Duration, trace string) {
	m.none.count(method, code, took, trace)
}

// observe measures how long something took, with the id of an exported trace as an exemplar.
func observe(by prometheus.Observer, took time.Duration, trace string) {
	if trace == "" {
		by.Observe(took.Seconds())
		return
	}
	by.(prometheus.ExemplarObserver).ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": trace})
}

// Route are the metrics of one route.
type Route struct {
	name            string
	all             *Metrics
	live            prometheus.Gauge
	ended           ended
	upstreamSeconds prometheus.Observer
	last            atomic.Pointer[lastDecision]
}

// Route returns the metrics of the route with a name.
func (m *Metrics) Route(name string) *Route {
	r := &Route{name: name, all: m, live: m.live.WithLabelValues(name), upstreamSeconds: m.upstreamSeconds.WithLabelValues(name)}
	r.ended.init(m, name)
	return r
}

// Request counts a request that ended, by its method and the code of its response.
func (r *Route) Request(method string, code int, took time.Duration, trace string) {
	r.ended.count(method, code, took, trace)
}

// Responded measures how long the upstream took until the headers of its response.
func (r *Route) Responded(took time.Duration, trace string) { observe(r.upstreamSeconds, took, trace) }

// Entered counts a request that is live from now on.
func (r *Route) Entered() { r.live.Inc() }

// Left counts a request that is not live any more.
func (r *Route) Left() { r.live.Dec() }

// Cut counts a live request that was cut.
func (r *Route) Cut(reason string) { r.all.cuts.WithLabelValues(r.name, reason).Inc() }

// Ended counts an exchange that lasted long, by the side that ended it.
func (r *Route) Ended(by string) { r.all.liveEnded.WithLabelValues(r.name, by).Inc() }

// Streamed measures a WebSocket or stream that ended.
func (r *Route) Streamed(took time.Duration, trace string) {
	observe(r.all.liveSeconds.WithLabelValues(r.name), took, trace)
}

// UpstreamFailed counts a request that got no response from the upstream.
func (r *Route) UpstreamFailed(reason string) {
	r.all.upstreamErrors.WithLabelValues(r.name, reason).Inc()
}

// Decided counts a decision. Most decisions on a route are the same, and looking up a counter takes longer than deciding,
// so the counter that was used last is kept.
func (r *Route) Decided(decision, reason string) {
	if last := r.last.Load(); last != nil && last.decision == decision && last.reason == reason {
		last.Inc()
		return
	}
	c := r.all.decisions.WithLabelValues(r.name, decision, reason)
	r.last.Store(&lastDecision{decision, reason, c})
	c.Inc()
}

// lastDecision is the counter of the last decision.
type lastDecision struct {
	decision, reason string
	prometheus.Counter
}
