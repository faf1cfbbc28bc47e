package metric_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/proxy/internal/metric"
)

// TestMetrics_NativeHistograms checks that every histogram has buckets for those who scrape text, and a bounded number of
// native ones for those who scrape native histograms.
func TestMetrics_NativeHistograms(t *testing.T) {
	m := metric.New()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(m.Collectors()...)
	r := m.Route("app")
	for took := time.Microsecond; took < 24*time.Hour; took += took / 50 {
		r.Request("GET", 200, took, "")
		r.Responded(took, "")
		r.Streamed(took, "")
		m.Enforced(took)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, f := range families {
		for _, series := range f.GetMetric() {
			h := series.GetHistogram()
			if h == nil || h.GetSampleCount() == 0 {
				continue
			}
			found++
			if len(h.GetBucket()) < 9 {
				t.Errorf("%s has %d classic buckets", f.GetName(), len(h.GetBucket()))
			}
			if n := len(h.GetPositiveDelta()); n < 50 || n > 160 || h.Schema == nil {
				t.Errorf("%s has %d native buckets", f.GetName(), n)
			}
		}
	}
	if found != 4 {
		t.Errorf("%d histograms have samples, want 4", found)
	}
}
