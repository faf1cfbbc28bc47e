package rollup

import "time"

// trimmed returns a histogram without empty buckets at its ends.
func (h histogram) trimmed() Durations {
	first, last := buckets, 0
	for i, n := range h {
		if n > 0 {
			first, last = min(first, i), i
		}
	}
	if first == buckets {
		return Durations{}
	}
	return Durations{first, append([]uint32(nil), h[first:last+1]...)}
}

// add adds durations to a histogram.
func (h *histogram) add(d Durations) {
	for i, n := range d.Counts {
		if at := d.First + i; at >= 0 && at < buckets {
			h[at] += n
		}
	}
}

// Count returns how many requests took any time.
func (d Durations) Count() (n uint64) {
	for _, count := range d.Counts {
		n += uint64(count)
	}
	return n
}

// Add adds the durations of another point.
func (d Durations) Add(other Durations) Durations {
	var h histogram
	h.add(d)
	h.add(other)
	return h.trimmed()
}

// Quantile returns how long a part of the requests took at most, such as .99: the upper bound of its bucket, which is less
// than half above the truth. Without requests it reports false.
func (d Durations) Quantile(q float64) (time.Duration, bool) {
	total := d.Count()
	if total == 0 {
		return 0, false
	}
	want, seen := q*float64(total), 0.0
	for i, n := range d.Counts {
		if seen += float64(n); n > 0 && seen >= want {
			return upper(d.First + i), true
		}
	}
	return upper(d.First + len(d.Counts) - 1), true
}
