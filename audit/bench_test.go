package audit_test

import (
	"path/filepath"
	"testing"
	"time"

	"sallyport/audit"
)

func BenchmarkWrite(b *testing.B) {
	l, err := audit.Open(filepath.Join(b.TempDir(), "audit.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	e := audit.Event{Time: time.Now().UTC(), Kind: audit.KindDecision, Request: "4f2c9a4f2c9a4f2c9a4f2c9a4f2c9a4f", User: "927fa2c08dcb4a7fae9e927fa2c08dcb", UserName: "alice@example.com",
		Session: "927fa2c08dcb4a7fae9e927fa2c08dcb", Route: "grafana", Host: "grafana.example.com", Method: "GET", Path: "/api/dashboards/home", Address: "203.0.113.7",
		Decision: "allow", Rule: "sre[0]", Reason: "rule_allow", Revision: 12345}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := l.Write(e); err != nil {
				b.Error(err)
			}
		}
	})
}
