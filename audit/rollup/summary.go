package rollup

import (
	"slices"
	"time"
)

// Summary is the sums of [Figures]. What is not known is nil.
type Summary struct {
	Allowed uint64 `json:"allowed"`
	Denied  uint64 `json:"denied"`
	Pushes  uint64 `json:"pushes"`
	Cuts    uint64 `json:"cuts"`

	P50, P99             *time.Duration // of requests
	RevokeP50, RevokeP99 *time.Duration // from the change of the directory to the end of a request, of the newest that were cut
}

// Summarize returns the sums of figures.
func (f Figures) Summarize() (s Summary) {
	for _, one := range f.Requests {
		if one.Allow {
			s.Allowed += one.Total
		} else {
			s.Denied += one.Total
		}
	}
	var seconds Durations
	for i := range f.Points {
		s.Pushes += uint64(f.Pushes[i])
		s.Cuts += uint64(f.Cuts[i])
		if i < len(f.Seconds) {
			seconds = seconds.Add(f.Seconds[i])
		}
	}
	if p50, ok := seconds.Quantile(.5); ok {
		p99, _ := seconds.Quantile(.99)
		s.P50, s.P99 = &p50, &p99
	}
	var took []time.Duration
	for _, cut := range f.Revocations {
		if cut.Took != nil {
			took = append(took, *cut.Took)
		}
	}
	if len(took) > 0 {
		slices.Sort(took)
		s.RevokeP50, s.RevokeP99 = &took[rank(len(took), .5)], &took[rank(len(took), .99)]
	}
	return s
}

// rank returns which of n sorted values is a quantile, by the nearest rank.
func rank(n int, q float64) int {
	return min(max(int(float64(n)*q+.999999)-1, 0), n-1)
}
