package audit_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/audit/receipt"
)

// lines is how long the record of the benchmarks is: 10,000,000 are those of a year.
var lines = flag.Int("lines", 200_000, "lines of the record that BenchmarkYear reads")

// BenchmarkYear writes a record of many lines, in files of the usual size, and then measures a start and a check of it.
func BenchmarkYear(b *testing.B) {
	k, path := newKeeper(b), filepath.Join(b.TempDir(), "audit.jsonl")
	writeYear(b, k, path)
	var size int64
	for _, file := range append(closedFiles(b, path), path) {
		info, err := os.Stat(file)
		if err != nil {
			b.Fatal(err)
		}
		size += info.Size()
	}
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			l, err := audit.Resume(path, k.saved())
			if err != nil {
				b.Fatal(err)
			}
			_ = l.Close()
		}
	})
	for name, q := range map[string]receipt.Question{
		"receipt":           {Name: "user7@example.com", User: receipt.Person{ID: yearUser(7), UserName: "user7@example.com"}},
		"receipt_of_former": {Name: "user7@example.com"},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			begin := cpuTime(b)
			defer func() { b.ReportMetric((cpuTime(b)-begin).Seconds()/float64(b.N), "cpu-s/op") }()
			for b.Loop() {
				record, err := audit.OpenRecord(path)
				if err != nil {
					b.Fatal(err)
				}
				r, err := receipt.Find(b.Context(), record, q)
				if err != nil || r.Attempts.Count < *lines/2/yearUsers-1 || r.Allowed.Count > 0 {
					b.Fatal(r.Attempts.Count, r.Allowed.Count, err)
				}
				_ = record.Close()
			}
		})
	}
	b.Run("verify", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			if found, err := verify(b, path, k.trust()); err != nil || found.Lines < *lines {
				b.Fatal(found, err)
			}
		}
	})
}

// cpuTime returns how long processors worked for this process, which does not depend on what else a machine does.
func cpuTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// yearUsers is how many people the record is about.
const yearUsers = 1000

func yearUser(i int) string { return fmt.Sprintf("927fa2c08dcb4a7fae9e%012x", i*7919) }

// writeYear writes the record as a server does that is killed 59 seconds after its last checkpoint.
func writeYear(b *testing.B, k *keeper, path string) {
	l := k.resume(b, path, audit.Rotation{Size: 100 << 20})
	stop := runUntil(l)
	e := audit.Event{Kind: audit.KindDecision, Request: "4f2c9a4f2c9a4f2c9a4f2c9a4f2c9a4f", User: "927fa2c08dcb4a7fae9e927fa2c08dcb", UserName: "alice@example.com",
		Session: "927fa2c08dcb4a7fae9e927fa2c08dcb", Route: "grafana", Host: "grafana.example.com", Method: "GET", Path: "/api/dashboards/home", Address: "203.0.113.7",
		Decision: "allow", Rule: "sre[0]", Reason: "rule_allow", Revision: 12345}
	for i := range *lines {
		if i == *lines-9_000 {
			stop()
			if err := l.Checkpoint(); err != nil {
				b.Fatal(err)
			}
		}
		e.Time, e.User, e.UserName = time.Now().UTC(), yearUser(i%yearUsers), fmt.Sprintf("user%d@example.com", i%yearUsers)
		e.Decision, e.Reason, e.Revision = "allow", "rule_allow", 12345
		if i == *lines/2 {
			leaver := audit.Event{Time: e.Time, Kind: audit.KindSCIM, User: yearUser(7), UserName: "user7@example.com", Reason: "patch", Revision: 12346,
				Detail: map[string]string{"result": "deactivated", "external_id": "61503835-0000-0000-0000-000000000007", "received": e.Time.Format(time.RFC3339Nano)}}
			if err := l.Write(leaver); err != nil {
				b.Fatal(err)
			}
		}
		if i > *lines/2 && i%yearUsers == 7 {
			e.Decision, e.Reason, e.Revision = "deny", "inactive_user", 12346
		}
		if err := l.Write(e); err != nil {
			b.Fatal(err)
		}
	}
	k.mu.Lock()
	k.err = errors.New("killed")
	k.mu.Unlock()
	_ = l.Close()
}
