package proxy

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestMetrics_NamesAndLabels compares the names of all metrics with the list that is a contract, and checks that clients
// and upstreams cannot add values of labels.
func TestMetrics_NamesAndLabels(t *testing.T) {
	w := newWorld(t, nil)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(w.proxy.Collectors()...)
	_, alice := w.signIn("alice", appHost)
	c := w.client(true)
	w.get(c, "https://"+appHost+"/", "Cookie", alice)
	w.get(c, "https://nowhere.example.com/")
	w.get(c, "https://"+appHost+"/.sallyport/jwks.json")
	w.send(w.client(false), "MADEUP", "https://nowhere.example.com/", nil)
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(799) })
	w.get(c, "https://"+openHost+"/")
	w.proxy.metrics.Login("allow", "signed_in")
	w.proxy.routing.Load().routes[0].metrics.Cut(string(noRule))
	w.proxy.routing.Load().routes[0].metrics.UpstreamFailed(string(upstreamTimeout))
	w.proxy.metrics.Enforced(time.Second)
	w.proxy.routing.Load().routes[0].metrics.Streamed(time.Second, "")
	for _, labels := range [][]string{{"route", "app", "method", "GET", "code", "200"}, {"route", "_none", "method", "GET", "code", "404"},
		{"route", "_internal", "method", "GET", "code", "200"}, {"route", "_none", "method", "other"}, {"route", "open", "code", "other"}} {
		if w.metric("sallyport_http_requests_total", labels...) != 1 {
			t.Errorf("%v is not counted once", labels)
		}
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	families, err := reg.Gather()
	w.must(err)
	var names []string
	for _, f := range families {
		names = append(names, strings.TrimPrefix(f.GetName(), "sallyport_"))
	}
	want := []string{"cuts_total", "decisions_total", "http_request_duration_seconds", "http_requests_total", "live_duration_seconds", "live_requests", "logins_total",
		"offboarding_enforcement_seconds", "upstream_errors_total", "upstream_request_duration_seconds"}
	if !slices.Equal(names, want) {
		t.Errorf("%v", names)
	}
}

// TestMetrics_TargetsDownOfRemovedRoutes checks that the number of targets that are down goes away with its route, and
// with the health check of the route.
func TestMetrics_TargetsDownOfRemovedRoutes(t *testing.T) {
	health := &Health{Path: "/healthz"}
	w := newWorld(t, func(s *Settings) {
		for i := range s.Routes {
			s.Routes[i].Upstream, s.Routes[i].UpstreamTLS, s.Routes[i].Health = Upstreams{"http://" + unusedAddress}, UpstreamTLS{}, health
		}
	})
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(w.proxy.Collectors()...)
	w.proxy.checkHealth(w.ctx, time.Now())
	w.proxy.checkHealth(w.ctx, time.Now().Add(time.Hour))
	if down := w.metric("sallyport_upstream_targets_down"); down != 4 {
		t.Fatalf("%v targets are down, want 4", down)
	}
	s := w.settings
	s.Routes = slices.Clone(s.Routes[:2])
	s.Routes[1].Health = nil
	w.must(w.proxy.Load(s))
	n, err := testutil.GatherAndCount(reg, "sallyport_upstream_targets_down")
	w.must(err)
	if down := w.metric("sallyport_upstream_targets_down", "route", "app"); n != 1 || down != 1 {
		t.Errorf("%d series; %v targets of the route that stays are down", n, down)
	}
}
