package proxy

import (
	"net/http"
	"testing"
	"time"

	"sallyport/policy"
)

// allowStaff makes the only rule of staff an allow rule with further parts.
func allowStaff(s *Settings, rule policy.Rule) {
	rule.Allow.Groups = []policy.GroupRef{{ID: staff}}
	s.Policies[0].Rules = []policy.Rule{rule}
}

func TestDecision_ByNetwork(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		trustLoopback(s)
		allowStaff(s, policy.Rule{Allow: &policy.Match{Networks: []string{"192.0.2.0/24"}}})
	})
	_, alice := w.signIn("alice", appHost)
	for forwardedFor, want := range map[string]int{"192.0.2.7": 200, "192.0.3.7": 403, "": 403, "192.0.2.7, 192.0.3.7": 403, "192.0.3.7, 192.0.2.7": 200} {
		res, _ := w.get(w.client(true), "https://"+appHost+"/", "Cookie", alice, "X-Forwarded-For", forwardedFor, "Accept", "application/json")
		if res.StatusCode != want {
			t.Errorf("from %q: %d, want %d", forwardedFor, res.StatusCode, want)
		}
	}
}

// TestCut_RuleEnds checks that what a rule allowed is cut when the rule ends.
func TestCut_RuleEnds(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, nil)
	_, alice := w.signIn("alice", appHost)
	w.serveStreams()
	end := time.Now().Add(4 * time.Second).UTC() // far enough for a stream to begin before, on a busy machine
	s := w.settings
	allowStaff(&s, policy.Rule{Allow: &policy.Match{}, Until: end.Format(time.RFC3339Nano)})
	w.must(w.proxy.Load(s))
	events := openEvents(w, w.client(true), "https://"+appHost, "Cookie", alice)
	await(t, "the client sees the end", events.done)
	if time.Now().Before(end) {
		t.Error("the stream was cut before the rule ended")
	}
	if res, _ := w.get(w.client(true), "https://"+appHost+"/", "Cookie", alice, "Accept", "application/json"); res.StatusCode != http.StatusForbidden {
		t.Errorf("after the end of the rule: %d", res.StatusCode)
	}
}
