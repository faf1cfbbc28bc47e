package scim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests   *prometheus.CounterVec
	durations  *prometheus.HistogramVec
	operations *prometheus.CounterVec
	quirks     *prometheus.CounterVec
	last       prometheus.Gauge
	held       prometheus.GaugeFunc
	dropped    prometheus.Counter
}

func newMetrics(held func() float64) *metrics {
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_scim_requests_total",
			Help: "SCIM requests."}, []string{"resource", "method", "code"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "sallyport_scim_request_duration_seconds",
			Help: "How long SCIM requests took.", Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour}, []string{"resource", "method"}),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_scim_operations_total",
			Help: "Changes asked for: changed, unchanged, refused, or held by scim.max_deactivations."}, []string{"resource", "operation", "result"}),
		quirks: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_scim_quirks_total",
			Help: "Deviations from the RFCs that were accepted, by name."}, []string{"quirk"}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sallyport_scim_last_request_timestamp_seconds",
			Help: "When the last SCIM request with a valid token arrived."}),
		held: prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sallyport_scim_held_deactivations",
			Help: "Deactivations that wait for an operator: more were asked for than scim.max_deactivations allows."}, held),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "sallyport_scim_unlogged_total",
			Help: "Requests missing from the provisioning log, because they arrived faster than it is written."}),
	}
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.durations, m.operations, m.quirks, m.last, m.held, m.dropped}
}

// observe counts a request.
func (m *metrics) observe(req *request, status int, took time.Duration) {
	resource, method := resourceLabel(req.URL.Path), methodLabel(req.Method)
	m.requests.WithLabelValues(resource, method, strconv.Itoa(status)).Inc()
	m.durations.WithLabelValues(resource, method).Observe(took.Seconds())
	for q, n := range req.quirks.Counts {
		m.quirks.WithLabelValues(string(q)).Add(float64(n))
	}
	if req.token.ID != "" {
		m.last.Set(float64(req.received.UnixNano()) / 1e9)
	}
}

// resourceLabel returns the label of a path, from a closed set.
func resourceLabel(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if slices.Contains([]string{"Users", "Groups", "Schemas", "ResourceTypes", "ServiceProviderConfig", "Bulk", "Me"}, first) {
		return first
	}
	return "other"
}

// methodLabel returns the label of a method, from a closed set.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}
