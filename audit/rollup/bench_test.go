package rollup_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/audit/rollup"
)

// BenchmarkWrite is what counting adds to writing a decision.
func BenchmarkWrite(b *testing.B) {
	for name, follow := range map[string]bool{"alone": false, "counted": true} {
		b.Run(name, func(b *testing.B) {
			log := openRecord(b, filepath.Join(b.TempDir(), "audit.jsonl"))
			defer log.Close()
			if follow {
				rollup.New().Follow(log)
			}
			events := make([]audit.Event, 1000)
			for i := range events {
				events[i] = decision(time.Now(), fmt.Sprintf("route%d", i%20), fmt.Sprintf("user%d", i), "rule_allow", true)
			}
			for i := 0; b.Loop(); i++ {
				write(b, log, events[i%len(events)])
			}
		})
	}
}

// BenchmarkRebuild is the time that a line of the record takes to be counted.
func BenchmarkRebuild(b *testing.B) {
	path := filepath.Join(b.TempDir(), "audit.jsonl")
	log := openRecord(b, path)
	for i := range 100_000 {
		write(b, log, decision(time.Now().Add(-time.Duration(i)*time.Second), fmt.Sprintf("route%d", i%20), fmt.Sprintf("user%d", i%5000), "rule_allow", true))
	}
	r := rollup.New()
	r.Follow(log)
	if err := log.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := r.Rebuild(b.Context(), path); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/100_000, "µs/line")
}

// BenchmarkFigures is the time of a question over a day with 500 combinations of routes and reasons in each minute.
func BenchmarkFigures(b *testing.B) {
	log := openRecord(b, filepath.Join(b.TempDir(), "audit.jsonl"))
	defer log.Close()
	r := rollup.New()
	r.Follow(log)
	for i := range 1440 * 500 / 10 {
		write(b, log, decision(time.Now().Add(-time.Duration(i/50)*time.Minute), fmt.Sprintf("route%d", i%250), "u", []string{"rule_allow", "no_rule"}[i%2], i%2 == 0))
	}
	for b.Loop() {
		r.Figures(rollup.Query{From: time.Now().Add(-24 * time.Hour)}.Fit(240, time.Now()))
	}
}
