package proxy

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"sallyport/audit"
	"sallyport/policy"
)

// TestDecision_IsRecordedBeforeForwarding checks that the event of a decision is written before the upstream receives the
// request, that it has all facts of the decision and no secrets, and that anonymous denials are not recorded.
func TestDecision_IsRecordedBeforeForwarding(t *testing.T) {
	w := newWorld(t, nil)
	started, alice := w.signIn("alice", appHost)
	var before []string
	w.setUpstream(func(http.ResponseWriter, *http.Request) { before = w.events(audit.KindDecision) })
	w.get(w.client(true), "https://"+appHost+"/a%20b?token=s3cret", "Cookie", alice)
	if len(before) != 1 {
		t.Fatalf("%q", before)
	}
	var e audit.Event
	w.must(json.Unmarshal([]byte(before[0]), &e))
	u := w.user("alice")
	if e.User != u.ID || e.UserName != u.UserName || e.Session != started.ID || e.Route != "app" || e.Host != appHost || e.Method != "GET" || e.Path != "/a%20b" ||
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
	text, err := os.ReadFile(w.auditFile)
	w.must(err)
	if strings.Contains(string(text), "s3cret") || strings.Contains(string(text), strings.TrimPrefix(alice, "__Host-sallyport=")) {
		t.Error("the record holds secrets")
	}
}

// TestDecision_FailsClosed checks that a request gets 503 if its decision cannot be recorded or the directory is stale.
func TestDecision_FailsClosed(t *testing.T) {
	t.Run("audit_closed", func(t *testing.T) {
		w := newWorld(t, nil)
		_, alice := w.signIn("alice", appHost)
		w.must(w.proxy.audit.Close())
		res, body := w.get(w.client(true), "https://"+appHost+"/", "Cookie", alice, "Accept", "application/json")
		if res.StatusCode != 503 || !strings.Contains(body, string(auditUnavailable)) || res.Header.Get("X-Saw") != "" {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	})
	t.Run("directory_stale", func(t *testing.T) {
		w := newWorld(t, nil)
		reached, gone := w.serveStreams()
		_, alice := w.signIn("alice", appHost)
		s := openEvents(w, w.client(true), "https://"+appHost, "Cookie", alice)
		await(t, "the upstream is reached", reached)
		w.stopDirectory()
		await(t, "the stream is cut", s.done)
		await(t, "the upstream sees the end", gone)
		res, body := w.get(w.client(true), "https://"+appHost+"/", "Cookie", alice, "Accept", "application/json")
		if res.StatusCode != 503 || !strings.Contains(body, string(directoryStale)) {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	})
}

// TestDecision_RecordsReportMode checks that what a rule in report mode would decide is recorded but not enforced.
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

// TestDecision_UnusualMethodsNeedRule checks that a rule allows an unusual method only if it names the method.
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
			t.Errorf("%s on a route for anyone: %d, want %d", method, res.StatusCode, want)
		}
	}
}
