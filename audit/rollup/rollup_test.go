package rollup_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"sallyport/audit"
	"sallyport/audit/rollup"
)

// openRecord opens a record in a folder, which ends with close.
func openRecord(t rapid.TB, path string) (log *audit.Log) {
	t.Helper()
	log, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func write(t rapid.TB, log *audit.Log, e audit.Event) {
	t.Helper()
	if err := log.Write(e); err != nil {
		t.Fatal(err)
	}
}

// decision returns a decision about a request for a route.
func decision(at time.Time, route, user, reason string, allow bool) audit.Event {
	e := audit.Event{Time: at.UTC(), Kind: audit.KindDecision, Request: "r", User: user, UserName: user + "@example.com", Route: route, Host: "h.example.com",
		Method: "GET", Path: `/a"b`, Address: "192.0.2.1", Rule: "policy " + route + " rule 1", Reason: reason, Decision: "deny", Code: 403}
	if allow {
		e.Decision, e.Code = "allow", 0
	}
	return e
}

// totals returns the requests of figures by route or reason and decision.
func totals(f rollup.Figures) map[string]uint64 {
	all := map[string]uint64{}
	for _, one := range f.Requests {
		all[fmt.Sprintf("%s%s %v", one.Route, one.Reason, one.Allow)] += one.Total
		sum := uint64(0)
		for _, n := range one.Counts {
			sum += uint64(n)
		}
		if sum != one.Total {
			panic("the points are not the total")
		}
	}
	return all
}

// TestRollup_CountsEachEventOnce compares the figures with a count of the events, in every resolution, with those that were
// counted as they were written, with those that were read from the record, and with a mix of both.
func TestRollup_CountsEachEventOnce(t *testing.T) {
	folder := t.TempDir()
	files := 0
	rapid.Check(t, func(t *rapid.T) {
		files++
		path := filepath.Join(folder, fmt.Sprintf("audit%d.jsonl", files))
		log := openRecord(t, path)
		defer log.Close()
		now := time.Now()
		spans := []time.Duration{time.Minute, 30 * time.Minute, 20 * time.Hour, 13 * 24 * time.Hour, 390 * 24 * time.Hour}
		watched, mixed := rollup.New(), rollup.New()
		watched.Follow(log)
		events := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) audit.Event {
			span := rapid.SampledFrom(spans).Draw(t, "span")
			at := now.Add(-time.Duration(rapid.Int64Range(0, int64(span)).Draw(t, "age")))
			route, user := rapid.SampledFrom([]string{"grafana", "wiki", "übersicht"}).Draw(t, "route"), rapid.SampledFrom([]string{"u1", "u2", "u3"}).Draw(t, "user")
			switch rapid.IntRange(0, 9).Draw(t, "kind") {
			case 0:
				return audit.Event{Time: at.UTC(), Kind: audit.KindSCIM, Actor: audit.Actor{Kind: audit.ActorToken, Name: "entra"}, User: user, Reason: "replace", Revision: 7}
			case 1:
				return audit.Event{Time: at.UTC(), Kind: audit.KindCut, Route: route, User: user, Reason: "inactive_user", Detail: map[string]string{"received": at.Add(-time.Millisecond).UTC().Format(time.RFC3339Nano)}}
			case 2:
				return audit.Event{Time: at.UTC(), Kind: audit.KindLogin, User: user, Decision: "allow", Reason: "signed_in"}
			}
			allow := rapid.Bool().Draw(t, "allow")
			reason := "rule_allow"
			if !allow {
				reason = rapid.SampledFrom([]string{"no_rule", "rule_deny"}).Draw(t, "reason")
			}
			return decision(at, route, user, reason, allow)
		}), 0, 60).Draw(t, "events")
		half := len(events) / 2
		for i, e := range events {
			if i == half {
				mixed.Follow(log)
			}
			write(t, log, e)
		}
		if half == len(events) {
			mixed.Follow(log)
		}
		rebuilt := rollup.New()
		rebuilt.Follow(log)
		for _, r := range []*rollup.Rollup{mixed, rebuilt} {
			if err := r.Rebuild(context.Background(), path); err != nil {
				t.Fatal(err)
			}
		}
		for i, span := range spans {
			q := rollup.Query{From: now.Add(-span), Route: rapid.SampledFrom([]string{"", "wiki", "absent"}).Draw(t, "asked"),
				By: rapid.SampledFrom([]rollup.By{rollup.ByReason, rollup.ByRoute}).Draw(t, "by")}.Fit(480, now)
			want, pushes, cuts := model(events, q)
			for name, r := range map[string]*rollup.Rollup{"watched": watched, "mixed": mixed, "rebuilt": rebuilt} {
				f := r.Figures(q)
				if got := totals(f); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("%s over %s in steps of %s: %v, want %v", name, span, q.Step, got, want)
				}
				if sum(f.Pushes) != pushes || sum(f.Cuts) != cuts {
					t.Fatalf("%s over %s: %d pushes and %d cuts, want %d and %d", name, span, sum(f.Pushes), sum(f.Cuts), pushes, cuts)
				}
				if f.Points > 482 {
					t.Fatalf("%d points", f.Points)
				}
			}
			if i < 4 && q.Step > time.Hour {
				t.Fatalf("the step for %s is %s", span, q.Step)
			}
		}
		for _, r := range []*rollup.Rollup{mixed, rebuilt} {
			if got, want := encode(t, r.Uses(rollup.UsesQuery{})), encode(t, watched.Uses(rollup.UsesQuery{})); got != want {
				t.Fatalf("last uses are %s, want %s", got, want)
			}
			if got, want := encode(t, r.Rules()), encode(t, watched.Rules()); got != want {
				t.Fatalf("rules are %s, want %s", got, want)
			}
			if r.Heat("wiki", time.UTC) != watched.Heat("wiki", time.UTC) {
				t.Fatal("the heat maps differ")
			}
		}
	})
}

func encode(t rapid.TB, v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func sum(list []uint32) (n int) {
	for _, one := range list {
		n += int(one)
	}
	return n
}

// model counts events.
func model(events []audit.Event, q rollup.Query) (requests map[string]uint64, pushes, cuts int) {
	requests = map[string]uint64{}
	for _, e := range events {
		if e.Time.Before(q.From) || !e.Time.Before(q.Until) {
			continue
		}
		switch {
		case e.Kind == audit.KindSCIM:
			pushes++
		case e.Kind == audit.KindCut:
			cuts++
		case e.Kind == audit.KindDecision && (q.Route == "" || q.Route == e.Route):
			name := e.Reason
			if q.By == rollup.ByRoute {
				name = e.Route
			}
			requests[fmt.Sprintf("%s %v", name, e.Decision == "allow")]++
		}
	}
	return requests, pushes, cuts
}

// TestRollup_IsBounded with more routes, reasons, users, rules and cuts than it keeps: what came last is counted, and no
// request is lost.
func TestRollup_IsBounded(t *testing.T) {
	log := openRecord(t, filepath.Join(t.TempDir(), "audit.jsonl"))
	defer log.Close()
	r := rollup.New()
	r.Follow(log)
	now := time.Now()
	const requests = 6000
	for i := range requests {
		write(t, log, decision(now, fmt.Sprintf("route%d", i), fmt.Sprintf("user%d", i), "rule_allow", true))
		if i%2 == 0 {
			write(t, log, audit.Event{Time: now.Add(time.Duration(i-requests) * time.Millisecond).UTC(), Kind: audit.KindCut, Route: "r", User: fmt.Sprint(i), Reason: "inactive_user"})
		}
	}
	q := rollup.Query{From: now.Add(-time.Minute), By: rollup.ByRoute}.Fit(100, time.Now())
	f := r.Figures(q)
	n := uint64(0)
	for _, one := range f.Requests {
		n += one.Total
	}
	if n != requests || len(f.Requests) > 40 || !slices.ContainsFunc(f.Requests, func(one rollup.Requests) bool { return one.Route == rollup.Other }) {
		t.Errorf("%d requests in %d series", n, len(f.Requests))
	}
	if cuts := f.Revocations; len(cuts) != 500 || cuts[0].User != fmt.Sprint(requests-2) {
		t.Errorf("%d cuts, the newest of %s", len(cuts), cuts[0].User)
	}
	if uses := r.Uses(rollup.UsesQuery{}); len(uses) != 1000 {
		t.Errorf("%d uses", len(uses))
	}
	if got := r.Uses(rollup.UsesQuery{Route: "route7", Users: []string{"user7", "absent"}}); len(got) != 1 || got[0].User != "user7" {
		t.Errorf("the use of a route by some is %v", got)
	}
}

// TestRebuild_SkipsWhatItCannotRead: lines that are damaged, cut off or not ours do not keep it from the others.
func TestRebuild_SkipsWhatItCannotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	log := openRecord(t, path)
	for i := range 3000 { // over a megabyte
		e := decision(time.Now().Add(-time.Duration(3000-i)*time.Second), "wiki", "u", "rule_allow", true)
		e.Detail = map[string]string{"report_rule": "policy new rule 1", "report_decision": "deny", "report_reason": `no "quotes" {}` + strings.Repeat("é", 100)}
		write(t, log, e)
	}
	r := rollup.New()
	r.Follow(log)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	lines[10], lines[20], lines[30], lines[40] = "\x00\x00\n", "{\"seq\":21,\"time\":\"x\n", "{}\n", "[1]\n"
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")+`{"seq":3001,"ti`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Rebuild(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if rules := r.Rules(); len(rules) != 2 || rules[1].Hits != 2996 || rules[0].Reported != 2996 {
		t.Errorf("the rules are %+v, want 2,996 hits", rules)
	}
	if age := time.Since(r.Begins()); age < 2999*time.Second || age > 3100*time.Second {
		t.Errorf("the figures begin %s ago", age)
	}
	if err := rollup.New().Rebuild(t.Context(), filepath.Join(t.TempDir(), "absent")); err != nil {
		t.Errorf("without a record the error is %v", err)
	}
}

// TestRebuild_IsOfTheNewestLines of a record in several files, within 400 days.
func TestRebuild_IsOfTheNewestLines(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1000 * 24 * time.Hour)
		path := filepath.Join(folder, "audit.jsonl")
		log := openRecord(t, path)
		now := time.Now()
		for _, days := range []int{500, 410, 390, 100, 0} {
			write(t, log, decision(now.Add(-time.Duration(days)*24*time.Hour), "wiki", fmt.Sprintf("%d days", days), "rule_allow", true))
		}
		r := rollup.New()
		r.Follow(log)
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		if err := r.Rebuild(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if uses := r.Uses(rollup.UsesQuery{}); len(uses) != 3 {
			t.Errorf("the uses are %v", uses)
		}
		if age := now.Sub(r.Begins()); age != 390*24*time.Hour {
			t.Errorf("the figures begin %s ago", age)
		}
	})
}

// TestRun_SamplesMetrics every five seconds: what requests took since the sample before, and how many are live.
func TestRun_SamplesMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "seconds", NativeHistogramBucketFactor: 1.1}, []string{"route"})
		live := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "live"}, []string{"route"})
		sessions := prometheus.NewGauge(prometheus.GaugeOpts{Name: "sessions"})
		registry.MustRegister(seconds, live, sessions)
		seconds.WithLabelValues("wiki").Observe(1000) // before the process counted
		r := rollup.New()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- r.Run(ctx, filepath.Join(t.TempDir(), "absent"), rollup.Metrics{Gatherer: registry, Seconds: "seconds", Live: "live", Sessions: "sessions", LeaveOut: []string{"own"}}, slog.New(slog.DiscardHandler))
		}()
		synctest.Wait()
		began := time.Now()
		for i := range 100 {
			seconds.WithLabelValues("wiki").Observe(.010)
			seconds.WithLabelValues("own").Observe(30)
			if i%20 == 0 {
				seconds.WithLabelValues("grafana").Observe(2)
			}
		}
		live.WithLabelValues("wiki").Set(3)
		live.WithLabelValues("own").Set(40)
		sessions.Set(7)
		time.Sleep(6 * time.Second)
		live.WithLabelValues("wiki").Set(1)
		time.Sleep(5 * time.Second)
		q := rollup.Query{From: began.Add(-time.Minute)}.Fit(100, time.Now())
		f := r.Figures(q)
		all := rollup.Durations{}
		for _, d := range f.Seconds {
			all = all.Add(d)
		}
		p50, _ := all.Quantile(.5)
		p99, _ := all.Quantile(.99)
		if all.Count() != 105 || p50 < 10*time.Millisecond || p50 > 15*time.Millisecond || p99 < 2*time.Second || p99 > 3*time.Second {
			t.Errorf("%d requests took %s and %s", all.Count(), p50, p99)
		}
		if slices.Max(f.Live) != 3 || slices.Max(f.Sessions) != 7 || slices.Min(f.Live) != -1 {
			t.Errorf("live %v, sessions %v", f.Live, f.Sessions)
		}
		two := rollup.Merge(q, f, f)
		if slices.Max(two.Live) != 6 || slices.Max(two.Sessions) != 7 || two.Points != f.Points {
			t.Errorf("of two replicas: live %v, sessions %v", two.Live, two.Sessions)
		}
		stop()
		<-done
	})
}

// TestFit_CoversTheTime with points that are multiples of the step, whatever is asked for.
func TestFit_CoversTheTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(rapid.Int64Range(1_600_000_000, 2_000_000_000).Draw(t, "now"), 0)
		q := rollup.Query{From: now.Add(-time.Duration(rapid.Int64Range(-1e9, 500*24*3600e9).Draw(t, "from"))), Until: now.Add(-time.Duration(rapid.Int64Range(-1e9, 500*24*3600e9).Draw(t, "until")))}
		points := rapid.IntRange(-1, 2000).Draw(t, "points")
		fit := q.Fit(points, now)
		if fit.From.UnixNano()%int64(fit.Step) != 0 && fit.Step < 7*24*time.Hour || !fit.Until.After(fit.From) {
			t.Fatalf("from %s until %s in steps of %s", fit.From, fit.Until, fit.Step)
		}
		f := rollup.New().Figures(fit)
		if f.Points < 1 || f.Points > 502 {
			t.Fatalf("%d points from %s until %s in steps of %s", f.Points, fit.From, fit.Until, fit.Step)
		}
	})
}
