package metric

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ended are the metrics of the requests of one route that have ended. It keeps the counters that it used: looking one up by
// its labels takes longer than counting. There are as many at most as pairs of a method and a code that are labels.
type ended struct {
	route    string
	requests *prometheus.CounterVec
	seconds  prometheus.Observer
	counters atomic.Pointer[map[endedKey]prometheus.Counter] // replaced, never altered
}

// endedKey is the labels of a counter. The code is 0 for every code that is no label.
type endedKey struct {
	method string
	code   int
}

func (e *ended) init(m *Metrics, route string) {
	e.route, e.requests, e.seconds = route, m.requests, m.seconds.WithLabelValues(route)
}

// count counts a request that ended. The code 0 is that of a client that has gone.
func (e *ended) count(method string, code int, took time.Duration, trace string) {
	if code == 0 {
		code = StatusClientGone
	}
	if !isCode(code) {
		code = 0
	}
	e.counter(endedKey{methodLabel(method), code}).Inc()
	observe(e.seconds, took, trace)
}

// counter returns the counter with the labels of key.
func (e *ended) counter(key endedKey) prometheus.Counter {
	if known := e.counters.Load(); known != nil {
		if c, ok := (*known)[key]; ok {
			return c
		}
	}
	c := e.requests.WithLabelValues(e.route, key.method, codeLabel(key.code)) // the same for all who ask at once
	for {
		known, more := e.counters.Load(), map[endedKey]prometheus.Counter{key: c}
		if known != nil {
			maps.Copy(more, *known)
		}
		if e.counters.CompareAndSwap(known, &more) {
			return c
		}
	}
}

// otherLabel stands for every method and code that is no label.
const otherLabel = "other"

var knownMethods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodOptions, http.MethodTrace, http.MethodConnect}

// methodLabel returns a method as a label. Clients can invent methods, so unknown ones are "other". The text of the client,
// which may be part of a longer one, is not kept.
func methodLabel(method string) string {
	if i := slices.Index(knownMethods, method); i >= 0 {
		return knownMethods[i]
	}
	return otherLabel
}

// isCode reports whether a status code is a label.
func isCode(code int) bool { return http.StatusText(code) != "" || code == StatusClientGone }

// codeLabel returns a status code as a label. Upstreams can invent codes, so unknown ones are "other".
func codeLabel(code int) string {
	if !isCode(code) {
		return otherLabel
	}
	return strconv.Itoa(code)
}
