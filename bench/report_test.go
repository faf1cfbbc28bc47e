package main

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// measuredTwice are figures of two rounds, in the second of which the machine was half as fast.
func measuredTwice() figures {
	known, unknown := allocations{20, 1000}, allocations{math.NaN(), math.NaN()}
	return figures{
		subjects: []subject{
			{key: "upstream", name: "the upstream itself", transport: plainHTTP1},
			{key: "stock", name: stockName, transport: plainHTTP1, pid: 1},
			{key: "nginx", name: nginxName, transport: plainHTTP1, pid: 2},
			{key: "session", name: "sallyport, session", transport: plainHTTP1, pid: 3},
			{key: "session-before", name: "sallyport, session, before", transport: plainHTTP1, pid: 4},
			{key: "session-h2", name: "sallyport, session", transport: tlsHTTP2, pid: 5},
			{key: "refused", name: "sallyport, without a credential", transport: plainHTTP1, pid: 6, status: 401},
		},
		results: [][]result{
			{{requests: 10, alone: 10, allocated: unknown}, {requests: 10, alone: 20, allocated: unknown}},
			{{requests: 10, cpu: 50, alone: 60, allocated: known}, {requests: 10, cpu: 100, alone: 120, allocated: known}},
			{{requests: 10, cpu: 20, allocated: unknown}, {requests: 10, cpu: 40, allocated: unknown}},
			{{requests: 10, cpu: 40, alone: 55, allocated: known}, {requests: 10, cpu: 80, alone: 110, allocated: known}},
			{{requests: 10, cpu: 80, allocated: allocations{40, 1}}, {requests: 10, cpu: 160, allocated: allocations{40, 1}}},
			{{requests: 10, cpu: 70, allocated: known}, {requests: 10, cpu: 70, allocated: known}},
			{{requests: 10, cpu: 5, allocated: known}, {requests: 10, cpu: 5, allocated: known}},
		},
	}
}

func TestFigures_CompareRoundByRound(t *testing.T) {
	f := measuredTwice()
	for want, got := range map[string][]float64{
		"0.80 (0.80–0.80)": f.ratio("session", "stock", cpuMetric),
		"2.00 (2.00–2.00)": f.ratio("session", "nginx", cpuMetric),
		"1.05 (0.70–1.40)": f.ratio("session-h2", "stock", cpuMetric),
		"0.90 (0.90–0.90)": aloneRatio(f),
		"-":                f.ratio("session", "nobody", cpuMetric),
	} {
		if text := spread("%.2f", got); text != want {
			t.Errorf("%s, want %s", text, want)
		}
	}
}

func TestFigures_ReportComparesTheSameTransportAndStatus(t *testing.T) {
	var out strings.Builder
	measuredTwice().report(&out)
	for row, want := range map[string]string{
		"upstream": "-", "stock": "1.00 (1.00–1.00)", "session": "0.80 (0.80–0.80)", "session-h2": "-", "refused": "-",
		"processor time: session to stock":                                  "reached",
		"processor time: session to nginx":                                  "reached",
		"half of the requests alone, beyond the upstream: session to stock": "reached",
		"processor time: session to that of the program before":             "0.50 (0.50–0.50)",
		"allocations: session to that of the program before":                "0.50 (0.50–0.50)",
	} {
		if !slices.ContainsFunc(strings.Split(out.String(), "\n"), func(line string) bool {
			cells := strings.Split(line, "|")
			return len(cells) > 2 && strings.TrimSpace(cells[1]) == row && slices.ContainsFunc(cells, func(cell string) bool { return strings.TrimSpace(cell) == want })
		}) {
			t.Errorf("%s is not %s in\n%s", row, want, &out)
		}
	}
	if strings.Contains(out.String(), "bearer") || strings.Contains(out.String(), "NaN") {
		t.Errorf("a figure that was not measured:\n%s", &out)
	}
}

func TestFigures_BenchmarksAreThoseOfBenchstat(t *testing.T) {
	var out strings.Builder
	if err := measuredTwice().benchmarks(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nBenchmarkRequest/row=upstream/program=this 10 0 p50-ns/op 10000 p50-alone-ns/op 0.0 req/s\n",
		"\nBenchmarkRequest/row=session/program=this 10 0 p50-ns/op 55000 p50-alone-ns/op 0.0 req/s 40000 cpu-ns/op 0.0 MiB-resident 20.00 allocs/op 1000 B/op 0.800 cpu/stock\n",
		"\nBenchmarkRequest/row=session/program=before 10 ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
	if n := strings.Count(out.String(), "\nBenchmark"); n != 14 {
		t.Errorf("%d lines", n)
	}
}
