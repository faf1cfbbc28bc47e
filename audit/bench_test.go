package audit_test

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/audit/rollup"
)

// BenchmarkWrite measures writing a decision: alone, and beside other writers, whose lines come in the same system calls.
func BenchmarkWrite(b *testing.B) {
	for _, writers := range []int{1, 32} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			l, err := audit.Open(filepath.Join(b.TempDir(), "audit.jsonl"))
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			rollup.New().Follow(l)
			e := audit.Event{Kind: audit.KindDecision, Request: "4f2c9a4f2c9a4f2c9a4f2c9a4f2c9a4f", User: "927fa2c08dcb4a7fae9e927fa2c08dcb", UserName: "alice@example.com",
				Session: "927fa2c08dcb4a7fae9e927fa2c08dcb", Route: "grafana", Host: "grafana.example.com", Method: "GET", Path: "/api/dashboards/home", Address: "203.0.113.7",
				Decision: "allow", Rule: "sre[0]", Reason: "rule_allow", Revision: 12345}
			write := func() {
				e := e
				e.Time = time.Now().UTC()
				if err := l.Write(e); err != nil {
					b.Error(err)
				}
			}
			b.ReportAllocs()
			b.SetParallelism(max(1, writers/2))
			b.ResetTimer()
			before := userTime(b)
			if writers == 1 {
				for range b.N {
					write()
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						write()
					}
				})
			}
			b.ReportMetric(float64(userTime(b)-before)/float64(b.N), "user-ns/op") // without the file system's part
		})
	}
}

// userTime returns how long the process has used a processor outside of the kernel.
func userTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano())
}
