package manage_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport/access"
	"sallyport/admin"
	"sallyport/directory"
	"sallyport/policy"
)

func TestPolicy_ShowsRulesAndWhatIsOdd(t *testing.T) {
	e := newEnv(t)
	e.page(e.otto, "/policy").contains(t, "sre[0]", "sre[1]", "payroll[grant]", "groups SRE", "methods DELETE", "the group Payroll has no members")
	e.settings.Policies[0].Rules = append(e.settings.Policies[0].Rules, policy.Rule{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: "g-sre"}}, Methods: []string{"GET"}}})
	e.settings.Policies = append(e.settings.Policies, policy.Named{Name: "idle", Rules: []policy.Rule{{Allow: &policy.Match{Users: []string{"carol@example.com"}}}}})
	page := e.page(e.otto, "/policy")
	page.contains(t, "sre[0] allows all that it allows", "No route uses this policy.", "users carol@example.com")
	list := unmarshal[[]map[string]any](e.get(e.otto, "/policy?odd=1&format=json"))
	var odd []string
	for _, row := range list {
		odd = append(odd, row["rule"].(string))
	}
	if got := strings.Join(odd, " "); got != "sre[2] payroll[0]" {
		t.Errorf("odd are %s", got)
	}
	if list = unmarshal[[]map[string]any](e.get(e.otto, "/policy?policy=payroll&format=json")); len(list) != 2 {
		t.Errorf("one policy: %v", list)
	}
}

func TestPolicy_RunsTestsNow(t *testing.T) {
	e := newEnv(t)
	e.page(e.otto, "/policy/tests").contains(t, "The configuration has no tests.")
	e.tests = []access.Case{{As: "bob@example.com", Get: "wiki.example.com/", Want: "allow"}, {As: "carol@example.com", Get: "wiki.example.com/", Want: "deny"}}
	e.page(e.otto, "/policy/tests").contains(t, "All 2 tests pass now.")
	e.change(func(tx *directory.Tx) error { return tx.Suspend(e.user("bob@example.com").ID, "left") })
	e.page(e.otto, "/policy/tests").contains(t, "1 of 2 tests fail now.", "suspended")
}

func TestPolicy_ListsUnusedRules(t *testing.T) {
	e := newEnv(t)
	e.decide("ada@example.com", "GET", "allow", "sre[0]", 3)
	list := unmarshal[[]map[string]any](e.get(e.otto, "/policy/unused?format=json"))
	var rules []string
	for _, row := range list {
		rules = append(rules, row["rule"].(string))
	}
	if got := strings.Join(rules, " "); got != "sre[1] payroll[0]" {
		t.Errorf("unused are %s", got)
	}
	e.page(e.otto, "/policy/unused?days=30").contains(t, "the whole rule", "The record begins at")
}

// complete returns a trial once all is known about it.
func (e *env) complete(path string) admin.Trial {
	e.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		path, _, _ := strings.Cut(path, "?")
		if trial := unmarshal[admin.Trial](e.get(e.otto, path+"?format=json")); !trial.Runs() || time.Now().After(deadline) {
			return trial
		}
	}
}

const changedPolicies = `policies:
  - name: sre
    rules:
      - allow: {users: [carol@example.com]}
  - {name: payroll, rules: [{allow: {groups: [{id: g-payroll, name: Payroll}]}}]}
`

func TestTrial_SaysWhatWouldChange(t *testing.T) {
	e := newEnv(t)
	e.decide("ada@example.com", "GET", "allow", "sre[0]", 3)
	e.decide("carol@example.com", "GET", "deny", "", 1)
	before := len(e.events("")) + len(e.events("decision"))
	location := e.done(e.ada, "/policy/trials", url.Values{"text": {changedPolicies}})
	trial := e.complete(location)
	if trial.Err != "" || len(trial.Changes) != 1 || trial.Changes[0].GainedCount != 1 || trial.Changes[0].LostCount != 2 || trial.Changes[0].Lost[0] != "ada@example.com" {
		t.Errorf("%+v", trial)
	}
	if trial.Tests != 2 || trial.FailedCount != 2 || trial.Replayed == nil || trial.Replayed.Decisions != 4 || len(trial.Replayed.Flips) != 2 || trial.Replayed.Flips[0].Times != 3 {
		t.Errorf("%+v %+v", trial, trial.Replayed)
	}
	e.page(e.otto, strings.Split(location, "?")[0]).contains(t, "1 gain access", "2 lose access", "ada@example.com", "carol@example.com", "deny: no_rule", "2</b> of 2 tests fail")
	e.page(e.otto, "/policy/trials").contains(t, "complete", "ada@example.com")
	if after := len(e.events("")) + len(e.events("decision")); after != before {
		t.Errorf("the record has %d lines, had %d", after, before)
	}
	if list := unmarshal[[]map[string]any](e.get(e.otto, "/routes?format=json")); list[0]["people"] != 2.0 {
		t.Errorf("the change is in force: %v", list)
	}
}

func TestTrial_RefusesMistakesWithTheirPlace(t *testing.T) {
	e := newEnv(t)
	for text, want := range map[string][]string{
		strings.Replace(changedPolicies, "allow: {users", "alow: {users", 1): {"line 4, column 9", "is not a key here; write allow", "alow: {users"},
		"policies: [":                            {"is not YAML"},
		"":                                       {"the file is empty"},
		"listen: {public: nowhere}":              {"paste a whole configuration"},
		"policies: []\n":                         {"routes[0].policy"},
		"<script>alert(1)</script>":              {"must have keys of its own"},
		"a: b":                                   {"is not a key here", "line 1, column 1"},
		"policies: &x\n- {name: a, rules: []}\n": {"anchors and aliases"},
		"policies:\n- name: sre\n  rules: [{allow: {when: 'request.'}}]\n": {"line 3"},
	} {
		res := e.post(e.ada, "/policy/trials", url.Values{"text": {text}})
		if res.Code != http.StatusUnprocessableEntity {
			t.Errorf("%q: %d %v", text, res.Code, res.err)
			continue
		}
		res.check(t, true)
		res.contains(t, want...)
	}
	if res := e.post(e.ada, "/policy/trials", url.Values{"text": {strings.Repeat("a", 2<<20)}}); res.err == nil {
		t.Errorf("two mebibytes: %d", res.Code)
	}
	e.page(e.ada, "/policy/trials").contains(t, "No change was tried")
	e.isRefused("/policy/trials", url.Values{"text": {changedPolicies}}, func() {
		if list := e.admin.Trials(t.Context(), admin.System("test")); len(list) > 0 {
			t.Errorf("%d trials", len(list))
		}
	})
	for _, path := range []string{"/policy/trials/0", "/policy/trials/"} {
		if res := e.get(e.ada, path); res.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, res.Code)
		}
	}
}

// TestTrial_OneAtATime: what is tried takes memory and time, so that another waits; only the last are remembered.
func TestTrial_OneAtATime(t *testing.T) {
	wait, begun := make(chan struct{}), make(chan struct{}, 100)
	e := newEnv(t, func(e *env) {
		decisions := e.parts.Decisions
		e.parts.Decisions = func(ctx context.Context, q admin.RecordQuery, add func(access.Recorded) error) (admin.RecordRead, error) {
			begun <- struct{}{}
			<-wait
			return decisions(ctx, q, add)
		}
	})
	first := e.done(e.ada, "/policy/trials", url.Values{"text": {changedPolicies}})
	<-begun
	e.page(e.otto, strings.Split(first, "?")[0]).contains(t, "data-renewing", "1 gain access")
	if res := e.post(e.ada, "/policy/trials", url.Values{"text": {changedPolicies}}); res.Code != http.StatusConflict {
		t.Errorf("a second one: %d", res.Code)
	} else {
		res.contains(t, "Another change is being tried", "carol@example.com")
	}
	close(wait)
	e.complete(first)
	for range 12 {
		e.complete(e.done(e.ada, "/policy/trials", url.Values{"text": {changedPolicies}}))
	}
	if list := e.admin.Trials(t.Context(), admin.System("test")); len(list) > 10 {
		t.Errorf("%d trials are remembered", len(list))
	}
}
