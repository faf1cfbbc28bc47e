package metric_test

import (
	"net/http"
	"testing"
	"time"

	"sallyport/proxy/internal/metric"
)

// BenchmarkRequest measures what it costs to count a request that ended.
func BenchmarkRequest(b *testing.B) {
	route := metric.New().Route("app")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			route.Request(http.MethodGet, http.StatusOK, time.Millisecond, "")
		}
	})
}
