package sink_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestStatus_TellsOfTheLastFault while a receiver refuses, and once it accepts again.
func TestStatus_TellsOfTheLastFault(t *testing.T) {
	r, siem := newRecord(t), newSIEM(t)
	siem.be(status(http.StatusServiceUnavailable))
	s := r.start(siem.settings())
	if got := s.Status(); len(got) != 1 || got[0].Name != "siem" || got[0].Fault != nil {
		t.Errorf("at first the status is %+v", got)
	}
	r.write(3)
	eventually(t, "an attempt fails", func() bool { return s.Status()[0].Fault != nil })
	failing := s.Status()[0]
	if f := failing.Fault; f.Recovered || !strings.Contains(f.Error, "503") || strings.Contains(f.Error, "hunter2") || f.Time.IsZero() || failing.Lines < 3 {
		t.Errorf("while the receiver refuses, the status is %+v, %+v", failing, f)
	}
	siem.be(nil)
	siem.await(r)
	eventually(t, "the fault is over", func() bool { got := s.Status()[0]; return got.Fault.Recovered && got.Lines == 0 })
}
