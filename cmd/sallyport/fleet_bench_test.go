package main

import (
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"
)

// BenchmarkReplicas_Cut deactivates a person who has a WebSocket, an event stream and a download on each of three replicas
// behind a HAProxy. It reports how long the push takes, and how long after its response the last of the nine ends.
func BenchmarkReplicas_Cut(b *testing.B) {
	f := newBalancedFleet(b, 3, "", func(w *world) {
		w.rewrite("policies:\n", "scim: {max_deactivations: {count: 100000, per: 10m}}\npolicies:\n")
	})
	var pushes, cuts []time.Duration
	late := 0
	for n := range b.N {
		s := *f.stage
		s.alice, s.person, s.browser = f.hireMember("person-" + strconv.Itoa(n))
		live := s.openEverywhere(b, f.replicas)
		began := time.Now()
		s.push.setActive(s.alice, "False")
		pushed := time.Now()
		for range f.replicas {
			if s.browser.fetch("/") != http.StatusForbidden {
				late++
			}
		}
		for _, l := range live {
			<-l.ended
		}
		pushes, cuts = append(pushes, pushed.Sub(began)), append(cuts, slices.MaxFunc(live, func(a, b liveRequest) int { return a.at().Compare(b.at()) }).at().Sub(pushed))
	}
	for name, all := range map[string][]time.Duration{"push": pushes, "cut": cuts} {
		slices.Sort(all)
		for _, p := range []int{50, 99} {
			b.ReportMetric(float64(all[(len(all)-1)*p/100].Microseconds())/1000, name+"-p"+strconv.Itoa(p)+"-ms")
		}
	}
	b.ReportMetric(float64(late), "let-in-after-push")
	b.ReportMetric(0, "ns/op")
}
