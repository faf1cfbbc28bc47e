package main

import "strings"

// aim is what a figure should be at most.
type aim struct {
	what  string
	limit float64 // 0: none, the figure is only shown
	of    func(f figures) []float64
}

var aims = []aim{
	{"processor time: session to stock", 0.85, cpuRatio("session", "stock")},
	{"processor time: session to nginx", 2.1, cpuRatio("session", "nginx")},
	{"processor time over TLS, HTTP/1.1: session to stock", 0.95, cpuRatio("session-tls", "stock-tls")},
	{"processor time over TLS, HTTP/2: session to stock", 0.95, cpuRatio("session-h2", "stock-h2")},
	{"processor time over TLS, HTTP/2: session to nginx", 3.3, cpuRatio("session-h2", "nginx-h2")},
	{"allocations of a request with a session", 40, figure("session", allocationsMetric)},
	{"bytes of these allocations", 3584, figure("session", bytesOfMetric)},
	{"processor time: bearer to session", 1.05, cpuRatio("bearer", "session")},
	{"processor time: 10,000 users and 20,000 sessions to one of each", 1.05, cpuRatio("session-big", "session")},
	{"processor time: 1,000 rules to ten", 1.05, cpuRatio("session-1000-rules", "session-10-rules")},
	{"half of the requests alone, beyond the upstream: session to stock", 0.9, aloneRatio},
	{"processor time: refused without a credential to a bare 401", 1.2, cpuRatio("refused", "bare-401")},
}

func cpuRatio(key, to string) func(figures) []float64 {
	return func(f figures) []float64 { return f.ratio(key, to, cpuMetric) }
}

func figure(key string, m metric) func(figures) []float64 {
	return func(f figures) []float64 { return f.of(key, m) }
}

// aloneRatio compares what the session and the stock proxy add to the upstream's time on a single connection.
func aloneRatio(f figures) []float64 {
	upstream, stock, session := f.of("upstream", aloneMetric), f.of("stock", aloneMetric), f.of("session", aloneMetric)
	if upstream == nil || stock == nil || session == nil {
		return nil
	}
	return ratios(differences(session, upstream), differences(stock, upstream))
}

func differences(list, from []float64) (all []float64) {
	for i := range list {
		all = append(all, list[i]-from[i])
	}
	return all
}

// comparisons returns what compares rows with those of the program before.
func (f figures) comparisons() (all []aim) {
	for _, s := range f.subjects {
		if key, ok := strings.CutSuffix(s.key, beforeSuffix); ok {
			all = append(all, aim{"processor time: " + key + " to that of the program before", 0, cpuRatio(key, s.key)},
				aim{"allocations: " + key + " to that of the program before", 0, func(f figures) []float64 { return f.ratio(key, s.key, allocationsMetric) }})
		}
	}
	return all
}
