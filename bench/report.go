package main

import (
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// report prints the medians of the rounds, and the ratios of CPU times to the stock proxy and to nginx over the same transport.
func report(out io.Writer, subjects []subject, results [][]result) {
	median := func(i int, of func(result) float64) float64 {
		values := make([]float64, len(results[i]))
		for j, r := range results[i] {
			values[j] = of(r)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	micros := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
	cpu := func(i int) float64 { return median(i, func(r result) float64 { return micros(r.cpu) }) }
	ratio := func(i int, to string) string {
		j := slices.IndexFunc(subjects, func(s subject) bool { return s.name == to && s.transport == subjects[i].transport })
		if j < 0 || cpu(j) == 0 {
			return "-"
		}
		return fmt.Sprintf("%.2f", cpu(i)/cpu(j))
	}
	version, _ := exec.Command("nginx", "-v").CombinedOutput()
	fmt.Fprintf(out, "%s, %s, load average %s\n\n", time.Now().Format(time.DateOnly), strings.TrimSpace(string(version)), loadAverage())
	w := newTable(out, "row", "through", "over", "CPU µs/request", "to stock", "to nginx", "requests/s", "p50 µs", "p99 µs", "p50 µs alone", "MiB")
	for i, s := range subjects {
		fmt.Fprintf(w, "| %s\t| %s\t| %s\t| %.1f\t| %s\t| %s\t| %.0f\t| %.0f\t| %.0f\t| %.0f\t| %.0f\t|\n", s.key, s.name, s.transport, cpu(i), ratio(i, "stock ReverseProxy"), ratio(i, "nginx"),
			median(i, func(r result) float64 { return r.perSecond }), median(i, func(r result) float64 { return micros(r.p50) }),
			median(i, func(r result) float64 { return micros(r.p99) }), median(i, func(r result) float64 { return micros(r.single) }),
			median(i, func(r result) float64 { return r.resident }))
	}
	_ = w.Flush()
}
