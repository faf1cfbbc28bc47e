package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// row is what was measured of an engine with a number of rules.
type row struct {
	what   string // number and kind of the rules
	engine loaded
	times  []float64 // ns for a decision, of each round
	ratios []float64 // to Sallyport, of each round
	allocs int64
	bytes  int64
}

// measure measures the engines in turn, in several rounds.
func measure(ctx context.Context, engines []loaded, w *world, rounds int) ([]row, error) {
	rows := make([]row, len(engines))
	for range rounds {
		for i, e := range engines {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			var failed error
			result := testing.Benchmark(func(b *testing.B) {
				b.ReportAllocs()
				for next := 0; b.Loop(); next++ {
					if _, err := e.allows(&w.requests[next%len(w.requests)]); err != nil {
						failed = err
					}
				}
			})
			if failed != nil {
				return nil, fmt.Errorf("%s: %w", e.name, failed)
			}
			r := &rows[i]
			r.what, r.engine, r.allocs, r.bytes = fmt.Sprintf("%d %s", len(w.rules), w.what), e, result.AllocsPerOp(), result.AllocedBytesPerOp()
			r.times = append(r.times, float64(result.T.Nanoseconds())/float64(result.N))
			r.ratios = append(r.ratios, r.times[len(r.times)-1]/rows[0].times[len(r.times)-1])
		}
	}
	return rows, nil
}

// report prints medians with their range.
func report(out io.Writer, groups, rounds int, rows []row) {
	fmt.Fprintf(out, "%s: a user in %d groups, %d requests in turn; rounds: %d; medians, with their range\n\n", time.Now().Format(time.DateOnly), groups, manyRequests, rounds)
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	columns := []string{"rules", "engine", "a decision, µs", "to " + ourName, "allocations", "bytes", "to load, ms", "MiB"}
	fmt.Fprintf(w, "| %s\t|\n|%s\n", strings.Join(columns, "\t| "), strings.Repeat("---\t|", len(columns)))
	for _, r := range rows {
		low, middle, high := spread(r.times)
		_, ratio, _ := spread(r.ratios)
		fmt.Fprintf(w, "| %s\t| %s\t| %.3f (%.3f–%.3f)\t| %s\t| %d\t| %d\t| %.1f\t| %.1f\t|\n", r.what, r.engine.name, middle/1000, low/1000, high/1000, rounded(ratio),
			r.allocs, r.bytes, r.engine.took.Seconds()*1000, r.engine.heap)
	}
	_ = w.Flush()
}

// rounded writes three digits of a ratio, or all before the point.
func rounded(ratio float64) string {
	if ratio >= 100 {
		return fmt.Sprintf("%.0f", ratio)
	}
	return fmt.Sprintf("%.3g", ratio)
}

func spread(values []float64) (low, middle, high float64) {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[0], sorted[len(sorted)/2], sorted[len(sorted)-1]
}
