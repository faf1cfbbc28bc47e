package manage_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/console/manage"
)

// write writes events into the record.
func (e *env) write(events ...audit.Event) {
	e.t.Helper()
	for _, event := range events {
		if err := e.record.Write(event); err != nil {
			e.t.Fatal(err)
		}
	}
}

// decided returns the event of a decision a while ago.
func decided(ago time.Duration, route, reason string) audit.Event {
	event := audit.Event{Time: time.Now().Add(-ago).UTC(), Kind: audit.KindDecision, Request: "r", User: "u", UserName: "bob@example.com", Route: route,
		Host: "h.example.com", Method: "GET", Path: "/", Address: address, Reason: reason, Decision: "deny", Code: 403}
	if reason == "rule_allow" {
		event.Decision, event.Code = "allow", 0
	}
	return event
}

func TestOverview_ShowsWhatHappened(t *testing.T) {
	e := newEnv(t)
	bob := e.user("bob@example.com")
	e.replica = admin.ReplicaFacts{Version: "1.2.3", Started: time.Now(), Live: 7,
		Upstreams:    []admin.Upstream{{Route: "wiki", Targets: 3, Down: 2, Checked: true}, {Route: "<b>payroll</b>", Targets: 1}},
		Certificates: []admin.Certificate{{Names: []string{"login.example.com"}, Expires: time.Now().Add(100 * time.Hour)}}}
	e.diagnosis = admin.Diagnosis{At: time.Now(), Findings: []admin.Finding{{Check: "clock", State: "ok", Detail: "fine"},
		{Check: "last push", State: "warn", Detail: "3 days ago; look <there>", Fix: "look <there>"}, {Check: "backup", State: "fail", Detail: "none; run `sallyport backup FILE`", Fix: "run `sallyport backup FILE`"}}}
	for range 3 {
		e.write(decided(time.Hour, "wiki", "rule_allow"))
	}
	e.write(decided(time.Minute, "wiki", "no_rule"), decided(time.Minute, "wiki", "rule_deny"), decided(time.Minute, manage.RouteName, "rule_allow"))
	now := time.Now().UTC()
	e.write(audit.Event{Time: now, Kind: audit.KindCut, Request: "r", Host: "h.example.com", Method: "GET", Path: "/", Address: address, Route: "wiki", Reason: "inactive_user", User: bob.ID, UserName: bob.UserName,
		Detail: map[string]string{"begun": now.Format(time.RFC3339Nano), "received": now.Add(-25 * time.Millisecond).Format(time.RFC3339Nano), "change": "3"}})
	body := e.page(e.otto, "/").Body.String()
	for _, want := range []string{
		`<b class="figure">3</b> requests allowed`, `<b class="figure">2</b> requests denied`, "40.0 % of all", "no rule <b>1</b>", "a rule denies it <b>1</b>",
		`<b class="figure">25 ms</b> from push to cut`, "1 requests cut", "deactivated", "bob@example.com",
		"2 of 3 down", "&lt;b&gt;payroll&lt;/b&gt;", `<span class="fault">4 d</span>`, "<code>sallyport backup FILE</code>", "3 days ago", "look &lt;there&gt;", "1 checks found nothing wrong",
		`<b class="figure no">never</b>`, "this server",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Index(body, "sallyport backup FILE") > strings.Index(body, "3 days ago") {
		t.Error("a warning comes before what fails")
	}
	if n := strings.Count(body, "look &lt;there&gt;"); n != 1 {
		t.Errorf("what to do is told %d times", n)
	}
	e.push(http.MethodGet, "/Users", "", http.StatusOK)
	e.logged()
	body = e.page(e.otto, "/").Body.String()
	if strings.Contains(body, ">never<") {
		t.Error("a push does not show")
	}
}

func TestOverview_IsReadByPrograms(t *testing.T) {
	e := newEnv(t)
	e.write(decided(time.Minute, "wiki", "rule_allow"), decided(time.Minute, "wiki", "no_rule"))
	var rows []map[string]any
	if err := json.Unmarshal(e.get(e.otto, "/?range=1h&format=json").Body.Bytes(), &rows); err != nil {
		t.Fatal(err)
	}
	allowed, denied := 0., 0.
	for _, row := range rows {
		allowed += row["allowed"].(float64)
		denied += row["denied"].(float64)
	}
	if allowed != 1 || denied != 1 {
		t.Errorf("%v were allowed and %v denied", allowed, denied)
	}
	if csv := e.get(e.otto, "/?range=1h&format=csv").Body.String(); !strings.HasPrefix(csv, "time,allowed,denied,p50_ms,p99_ms,sessions,live,pushes,cuts\n") {
		t.Errorf("the CSV begins %q", csv[:min(len(csv), 80)])
	}
	if empty := newEnv(t); strings.Contains(empty.get(empty.otto, "/overview/charts").Body.String(), `"series":null`) {
		t.Error("a chart of nothing has no list of series")
	}
	var charts []struct {
		Name   string
		Series []struct{ Values []*float64 }
	}
	if err := json.Unmarshal(e.get(e.otto, "/overview/charts?range=1h").Body.Bytes(), &charts); err != nil || len(charts) != 4 || len(charts[0].Series[0].Values) != 241 {
		t.Errorf("%d charts, %v", len(charts), err)
	}
}

// TestOverview_OfAnyTime shows a page for times that cannot be read, that are not yet, and that were before all.
func TestOverview_OfAnyTime(t *testing.T) {
	e := newEnv(t)
	for path, wrong := range map[string]bool{
		"/?range=1h": false, "/?range=400d": false, "/?range=yesterday": true, "/?range=-1h": true, "/?range=9999999h": true, "/?range=1ns": true,
		"/?from=2026-11-29T09:00:00Z&until=2026-11-29T10:00:00Z": false, "/?from=2999-01-01&until=1999-01-01": false, "/?from=x": true, "/?until=x&from=1h": true,
		"/?from=0001-01-01&until=9999-12-31": false, "/?from=1h&until=1h": false, "/?range=%3Cscript%3E": true,
	} {
		body := e.page(e.otto, path).Body.String()
		if got := strings.Contains(body, "cannot be read"); got != wrong {
			t.Errorf("%s: the page says that it cannot read the time: %v", path, got)
		}
	}
}

// TestOverview_IsSmall with many routes, upstreams, reasons and certificates.
func TestOverview_IsSmall(t *testing.T) {
	e := newEnv(t)
	for i := range 1000 {
		e.write(decided(time.Duration(i)*80*time.Second, fmt.Sprintf("route-%d", i), []string{"rule_allow", "no_rule", "rule_deny", "login_too_old", "suspended", "cross_origin", "access_revoked"}[i%7]))
		e.replica.Upstreams = append(e.replica.Upstreams, admin.Upstream{Route: fmt.Sprintf("route-%d", i), Targets: 3})
		e.replica.Certificates = append(e.replica.Certificates, admin.Certificate{Names: []string{fmt.Sprintf("route-%d.example.com", i)}, Expires: time.Now().Add(time.Hour)})
	}
	e.replica.Upstreams[999].Down = 1
	body := e.page(e.otto, "/").Body.String() // which checks its size
	if !strings.Contains(body, "route-999") || !strings.Contains(body, "970 more, all of them up") {
		t.Error("the page does not show the upstream that is down, or not how many there are")
	}
}

// TestOverview_IsRefreshed by events: of each part that changes, and of no other.
func TestOverview_IsRefreshed(t *testing.T) {
	e := newEnv(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := e.handler.Serve(w, r, r.URL.Path, e.otto); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+manage.Path+"/overview/events?range=1h", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	seen := map[string]int{}
	var last string
	next := func() {
		t.Helper()
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			data, ok := strings.CutPrefix(line, "data: ")
			if !ok {
				continue
			}
			var part struct{ Name, HTML string }
			if err := json.Unmarshal([]byte(data), &part); err != nil { // the charts are a list
				part.Name = "charts"
			}
			seen[part.Name]++
			last = part.HTML
			return
		}
	}
	for seen["charts"] == 0 {
		next()
	}
	if len(seen) != 7 {
		t.Errorf("the first events are of %v", seen)
	}
	e.write(decided(0, "wiki", "rule_allow"))
	for seen["cards"] < 2 {
		next()
	}
	if !strings.Contains(last, `<b class="figure">1</b> requests allowed`) || seen["health"] != 1 {
		t.Errorf("after a request the events are of %v: %s", seen, last)
	}
	stop()
	if _, err := io.Copy(io.Discard, lines); err == nil {
		t.Error("the stream ends without its request")
	}
}
