package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// figures are the results of each round, of each subject.
type figures struct {
	subjects []subject
	results  [][]result // of subjects, by round
}

// metric is what is reported of a result.
type metric func(result) float64

func cpuMetric(r result) float64         { return r.cpu }
func aloneMetric(r result) float64       { return r.alone }
func allocationsMetric(r result) float64 { return r.allocated.objects }
func bytesOfMetric(r result) float64     { return r.allocated.bytes }

// of returns the metric of the subject with that key in each round, or nil if it was not measured.
func (f figures) of(key string, m metric) (values []float64) {
	i := slices.IndexFunc(f.subjects, func(s subject) bool { return s.key == key })
	if i < 0 {
		return nil
	}
	for _, r := range f.results[i] {
		values = append(values, m(r))
	}
	return values
}

// ratio returns the ratios of two subjects in each round, or nil if one was not measured. Rounds are compared one by one, since
// what else the machine does changes more between them than within one.
func (f figures) ratio(key, to string, m metric) []float64 {
	of, by := f.of(key, m), f.of(to, m)
	if of == nil || by == nil {
		return nil
	}
	return ratios(of, by)
}

// peerOf returns the key of the row that is called name and has the transport and the responses of s, or "".
func (f figures) peerOf(s subject, name string) string {
	i := slices.IndexFunc(f.subjects, func(other subject) bool {
		return other.name == name && other.transport == s.transport && other.wanted() == s.wanted()
	})
	if i < 0 || s.pid == 0 {
		return ""
	}
	return f.subjects[i].key
}

// spread writes the median, and the range if there are several values.
func spread(format string, values []float64) string {
	if len(values) == 0 || math.IsNaN(median(values)) || math.IsInf(median(values), 0) {
		return "-"
	}
	text := fmt.Sprintf(format, median(values))
	if len(values) > 1 {
		text += fmt.Sprintf(" ("+format+"–"+format+")", slices.Min(values), slices.Max(values))
	}
	return text
}

// report prints the figures and the aims.
func (f figures) report(out io.Writer) {
	version, _ := exec.Command("nginx", "-v").CombinedOutput()
	fmt.Fprintf(out, "%s, %s, %d cores, %s, %s, load average %s\nrounds: %d; medians, with their range\n\n",
		time.Now().Format(time.DateOnly), processor(), runtime.NumCPU(), runtime.Version(), cmp.Or(strings.TrimSpace(string(version)), "no nginx"), loadAverage(), len(f.results[0]))
	w := newTable(out, "row", "through", "transport", "CPU µs/request", "to stock", "to lean", "to nginx", "allocations", "bytes", "requests/s", "p50 µs", "p99 µs", "p50 µs alone", "MiB")
	for i, s := range f.subjects {
		values := func(m metric) []float64 { return f.of(s.key, m) }
		to := func(name string) []float64 { return f.ratio(s.key, f.peerOf(s, name), cpuMetric) }
		cpu := spread("%.1f", values(cpuMetric))
		if s.pid == 0 {
			cpu = "-"
		}
		fmt.Fprintf(w, "| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t| %.0f\t| %.0f\t| %.0f\t| %s\t| %.0f\t|\n", s.key, s.name, s.transport, cpu,
			spread("%.2f", to(stockName)), spread("%.2f", to(leanName)), spread("%.2f", to(nginxName)),
			only(median(values(allocationsMetric))), only(median(values(bytesOfMetric))), median(values(func(r result) float64 { return r.perSecond })),
			median(values(func(r result) float64 { return r.p50 })), median(values(func(r result) float64 { return r.p99 })), spread("%.0f", values(aloneMetric)), f.results[i][len(f.results[i])-1].resident)
	}
	_ = w.Flush()
	f.reportAims(out)
}

// only writes a value without its range, if it is known.
func only(value float64) string {
	if math.IsNaN(value) {
		return "-"
	}
	return fmt.Sprintf("%.1f", value)
}

// reportAims prints the aims whose rows were measured, and each row beside the same row of the program before.
func (f figures) reportAims(out io.Writer) {
	var table io.Writer
	for _, a := range append(slices.Clone(aims), f.comparisons()...) {
		values := a.of(f)
		if len(values) == 0 || math.IsNaN(median(values)) {
			continue
		}
		if table == nil {
			fmt.Fprintln(out)
			t := newTable(out, "what", "aim, at most", "measured", "")
			defer t.Flush()
			table = t
		}
		limit, verdict := "", ""
		if a.limit > 0 {
			limit, verdict = fmt.Sprintf("%.5g", a.limit), "reached"
			if median(values) > a.limit {
				verdict = "missed"
			}
		}
		fmt.Fprintf(table, "| %s\t| %s\t| %s\t| %s\t|\n", a.what, limit, spread("%.2f", values), verdict)
	}
}

// processor returns the name of the processor.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	_, after, _ := strings.Cut(string(text), "model name\t: ")
	name, _, _ := strings.Cut(after, "\n")
	return cmp.Or(name, runtime.GOARCH)
}

// benchmarks writes the figures as results of Go benchmarks, which benchstat reads: a line for each subject and round.
func (f figures) benchmarks(out io.Writer) (err error) {
	line := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(out, format, args...)
		}
	}
	commit, _ := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output() // none outside a repository
	line("date: %s\ncommit: %s\ngoos: %s\ngoarch: %s\ngo: %s\ncores: %d\ncpu: %s\n", time.Now().Format(time.DateOnly), strings.TrimSpace(string(commit)), runtime.GOOS, runtime.GOARCH, runtime.Version(), runtime.NumCPU(), processor())
	for round := range f.results[0] {
		for i, s := range f.subjects {
			r := f.results[i][round]
			line("BenchmarkRequest/%s %d %.0f p50-ns/op %.0f p50-alone-ns/op %.1f req/s", s.benchmark(), r.requests, r.p50*1000, r.alone*1000, r.perSecond)
			if s.pid != 0 {
				line(" %.0f cpu-ns/op %.1f MiB-resident", r.cpu*1000, r.resident)
			}
			if !math.IsNaN(r.allocated.objects) {
				line(" %.2f allocs/op %.0f B/op", r.allocated.objects, r.allocated.bytes)
			}
			if to := f.ratio(s.key, f.peerOf(s, stockName), cpuMetric); to != nil && s.name != stockName {
				line(" %.3f cpu/stock", to[round])
			}
			line("\n")
		}
	}
	return err
}
