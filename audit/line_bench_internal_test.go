package audit

import (
	"testing"
	"time"
)

// BenchmarkLine measures making the line of a decision, without writing it.
func BenchmarkLine(b *testing.B) {
	e := Event{Time: time.Now().UTC(), Kind: KindDecision, Request: "4f2c9a4f2c9a4f2c9a4f2c9a4f2c9a4f", User: "927fa2c08dcb4a7fae9e927fa2c08dcb", UserName: "alice@example.com",
		Session: "927fa2c08dcb4a7fae9e927fa2c08dcb", Route: "grafana", Host: "grafana.example.com", Method: "GET", Path: "/api/dashboards/home", Address: "203.0.113.7",
		Decision: "allow", Rule: "sre[0]", Reason: "rule_allow", Revision: 12345}
	var end link
	lines := make([]byte, 0, 2<<10)
	b.ReportAllocs()
	for b.Loop() {
		var fields [1 << 10]byte
		_, end = end.append(lines, e.appendFields(fields[:0]))
	}
}
