package proxy

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sallyport/audit"
	"sallyport/policy"
)

// TestDecision_IsRecordedBeforeForwarding: the event is written before the upstream receives the request, and holds all
// facts of the decision.
func TestDecision_IsRecordedBeforeForwarding(t *testing.T) {
	w := newWorld(t, nil)
	one, alice := w.signIn("alice", appHost)
	var before []string
	w.behindIs(func(http.ResponseWriter, *http.Request) { before = w.events(audit.KindDecision) })
	w.get(w.client(true), "https://"+appHost+"/a%20b?token=s3cret", "Cookie", alice)
	if len(before) != 1 {
		t.Fatalf("%q", before)
	}
	var e audit.Event
	w.must(json.Unmarshal([]byte(before[0]), &e))
	u := w.user("alice")
	if e.User != u.ID || e.UserName != u.UserName || e.Session != one.ID || e.Route != "app" || e.Host != appHost || e.Method != "GET" || e.Path != "/a%20b" ||
		e.Decision != "allow" || e.Rule != "staff[0]" || e.Reason != "rule_allow" || e.Revision != w.directory.Revision() || e.Address != "127.0.0.1" || len(e.Request) != 32 {
		t.Errorf("%+v", e)
	}
	res, body := w.get(w.client(true), "https://"+appHost+"/secret/plan", "Cookie", alice, "Accept", "application/json")
	list := w.events(audit.KindDecision)
	w.must(json.Unmarshal([]byte(list[len(list)-1]), &e))
	if res.StatusCode != 403 || e.Decision != "deny" || e.Rule != "staff[1]" || e.Reason != "rule_deny" || e.Code != 403 || !strings.Contains(body, e.Request) {
		t.Errorf("%+v\n%s", e, body)
	}
	w.get(w.client(true), "https://"+appHost+"/", "Accept", "application/json")
	if now := w.events(audit.KindDecision); len(now) != len(list) {
		t.Error("an anonymous denial was recorded")
	}
	text, err := os.ReadFile(w.record)
	w.must(err)
	if strings.Contains(string(text), "s3cret") || strings.Contains(string(text), strings.TrimPrefix(alice, "__Host-sallyport=")) {
		t.Error("the record holds secrets")
	}
}

// TestDecision_DeniesInDoubt: what cannot be recorded or decided is a 503, not a 403.
func TestDecision_DeniesInDoubt(t *testing.T) {
	t.Run("the record cannot be written", func(t *testing.T) {
		w := newWorld(t, nil)
		_, alice := w.signIn("alice", appHost)
		w.must(w.proxy.audit.Close())
		res, body := w.get(w.client(true), "https://"+appHost+"/", "Cookie", alice, "Accept", "application/json")
		if res.StatusCode != 503 || !strings.Contains(body, string(auditUnavailable)) || res.Header.Get("X-Saw") != "" {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	})
	t.Run("the directory is stale", func(t *testing.T) {
		w := newWorld(t, nil)
		reached, gone := w.behindStreams()
		_, alice := w.signIn("alice", appHost)
		s := openEvents(w, w.client(true), "https://"+appHost, "Cookie", alice)
		await(t, "the upstream is reached", reached)
		w.stopDirectory()
		await(t, "the stream is cut", s.done)
		await(t, "the upstream lets go", gone)
		res, body := w.get(w.client(true), "https://"+appHost+"/", "Cookie", alice, "Accept", "application/json")
		if res.StatusCode != 503 || !strings.Contains(body, string(directoryStale)) {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	})
}

// TestDecision_RecordsReportMode: rules in report mode are recorded and change nothing.
func TestDecision_RecordsReportMode(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		s.Policies[0].Rules = append(s.Policies[0].Rules, policy.Rule{Mode: "report", Deny: &policy.Match{Paths: []string{"/soon"}}})
	})
	_, alice := w.signIn("alice", appHost)
	res, _ := w.get(w.client(true), "https://"+appHost+"/soon", "Cookie", alice)
	line := w.events(audit.KindDecision)
	if res.StatusCode != 200 || len(line) != 1 || !strings.Contains(line[0], `"report_decision":"deny"`) || !strings.Contains(line[0], `"report_rule":"staff[2]"`) {
		t.Errorf("%d %s", res.StatusCode, line)
	}
}

// TestDecision_UnusualMethodsNeedRule: a rule allows an unusual method only by its name.
func TestDecision_UnusualMethodsNeedRule(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		s.Policies = append(s.Policies, policy.Named{Name: "trace", Rules: []policy.Rule{{Allow: &policy.Match{Anyone: true, Methods: []string{"TRACE", "PURGE"}}}}})
		r := s.Routes[1]
		r.Name, r.Host, r.Policy = "trace", "trace.example.com", []string{"trace"}
		s.Routes = append(s.Routes, r)
	})
	for method, want := range map[string]int{"TRACE": 200, "PURGE": 200, "GET": 401, "purge": 401, "Trace": 401, "FOO": 401} {
		if res, _ := w.send(w.client(false), method, "https://trace.example.com/", nil, "Accept", "application/json"); res.StatusCode != want {
			t.Errorf("%s: %d, want %d", method, res.StatusCode, want)
		}
	}
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "OPTIONS": 200, "DELETE": 200, "TRACE": 401, "PURGE": 401, "get": 401} {
		if res, _ := w.send(w.client(false), method, "https://"+openHost+"/", nil, "Accept", "application/json"); res.StatusCode != want {
			t.Errorf("%s where anyone may: %d, want %d", method, res.StatusCode, want)
		}
	}
}

// TestServe_NeverMixesSettings: however reloads and requests interleave, no request is decided by one route and sent to the
// upstream of another.
func TestServe_NeverMixesSettings(t *testing.T) {
	w := newWorld(t, nil)
	open := w.settings
	open.Routes = slices.Clone(open.Routes)
	other := hostile(t, "HTTP/1.1 200 OK\r\nX-Saw: other\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	open.Routes[0].Policy, open.Routes[0].Upstream, open.Routes[0].UpstreamTLS = []string{"all"}, Upstreams{other}, UpstreamTLS{}
	var stop atomic.Bool
	var asking sync.WaitGroup
	defer asking.Wait()
	defer stop.Store(true)
	for i := range 4 {
		c := w.client(i%2 == 0)
		asking.Go(func() {
			for !stop.Load() {
				r, _ := http.NewRequestWithContext(w.ctx, "GET", "https://"+appHost+"/", nil)
				res, err := c.Do(r)
				if err != nil {
					continue // cut by a reload
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if saw := res.Header.Get("X-Saw"); res.StatusCode == 200 && saw != "other" {
					t.Errorf("nobody reached the upstream of staff: %s", saw)
				}
			}
		})
	}
	for range 100 {
		w.must(w.proxy.Load(open))
		w.must(w.proxy.Load(w.settings))
	}
}

func TestMetrics(t *testing.T) {
	w := newWorld(t, nil)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(w.proxy.Collectors()...)
	_, alice := w.signIn("alice", appHost)
	c := w.client(true)
	w.get(c, "https://"+appHost+"/", "Cookie", alice)
	w.get(c, "https://nowhere.example.com/")
	w.get(c, "https://"+appHost+"/.sallyport/jwks.json")
	w.send(w.client(false), "MADEUP", "https://nowhere.example.com/", nil)
	w.behindIs(func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(799) })
	w.get(c, "https://"+openHost+"/")
	w.proxy.countLogin("allow", "signed_in")
	w.proxy.routing.Load().routes[0].metrics.countCut(noRule)
	w.proxy.routing.Load().routes[0].metrics.countUpstreamError(upstreamTimeout)
	w.proxy.metrics.enforcement.Observe(1)
	for _, labels := range [][]string{{"route", "app", "method", "GET", "code", "200"}, {"route", "_none", "method", "GET", "code", "404"},
		{"route", "_internal", "method", "GET", "code", "200"}, {"route", "_none", "method", "other"}, {"route", "open", "code", "other"}} {
		if w.number("sallyport_http_requests_total", labels...) != 1 {
			t.Errorf("%v not counted once", labels)
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
	want := []string{"cuts_total", "decisions_total", "http_request_duration_seconds", "http_requests_total", "live_requests", "logins_total",
		"offboarding_enforcement_seconds", "upstream_errors_total", "upstream_request_duration_seconds"}
	if !slices.Equal(names, want) {
		t.Errorf("%v", names)
	}
}
