package audit_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sallyport/audit"
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
	b.Run("search", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			found := 0
			record, err := audit.OpenRecord(path)
			if err == nil {
				err = record.Search(b.Context(), audit.Search{Texts: []audit.Text{{Value: yearUser(7)}, {Key: "user_name", Value: "user7@example.com"},
					{Key: "value", Value: "61503835-0000-0000-0000-000000000007"}}}, func(audit.Found) error { found++; return nil })
			}
			if want := *lines / yearUsers; err != nil || found < want {
				b.Fatal(found, want, err)
			}
			_ = record.Close()
		}
	})
	b.Run("verify", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			if found, err := verify(b, path, k.trust()); err != nil || found.Lines < *lines {
				b.Fatal(found, err)
			}
		}
	})
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
		if err := l.Write(e); err != nil {
			b.Fatal(err)
		}
	}
	k.mu.Lock()
	k.err = errors.New("killed")
	k.mu.Unlock()
	_ = l.Close()
}
