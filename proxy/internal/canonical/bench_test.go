package canonical

import "testing"

// BenchmarkReadings measures the readings of paths by servers that distinguish case. A strict path on a host without
// path_case: insensitive is never read this way.
func BenchmarkReadings(b *testing.B) { benchmarkReadings(b, Readings) }

// BenchmarkFoldedReadings measures the same for servers that fold paths.
func BenchmarkFoldedReadings(b *testing.B) { benchmarkReadings(b, FoldedReadings) }

func benchmarkReadings(b *testing.B, read func(string) ([]string, error)) {
	for _, path := range []string{"/api/v1/dashboards/uid/abcdef", "/API/v1/Dashboards", "/wiki/Caf%C3%A9/a%20b", "/group%2Fproject"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := read(path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFold(b *testing.B) {
	for _, path := range []string{"/api/v1/dashboards", "/wiki/Café"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Fold(path)
			}
		})
	}
}
