package manage_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/policy"
)

// recordDecision records a decision about a user on the route wiki, and returns the number of its request.
func (e *env) recordDecision(n int, userName, decision, reason string, at time.Time) string {
	e.t.Helper()
	id := fmt.Sprintf("%032x", 0xd000+n)
	u := e.user(userName)
	event := audit.Event{Time: at.UTC(), Kind: audit.KindDecision, Request: id, User: u.ID, UserName: u.UserName, Session: "s1", Route: "wiki", Host: "wiki.example.com", Method: "GET",
		Path: "/page<1>", Address: "203.0.113.7", Decision: decision, Reason: reason, Revision: e.directory.Revision()}
	if decision == "allow" {
		event.Rule = "sre[0]"
	} else {
		event.Code = http.StatusForbidden
	}
	if err := e.record.Write(event); err != nil {
		e.t.Fatal(err)
	}
	return id
}

func TestDecisions_AreSearched(t *testing.T) {
	e := newEnv(t)
	if page := e.page(e.otto, "/decisions").Body.String(); !strings.Contains(page, "has no such decision") {
		t.Error("nothing is said of an empty record")
	}
	now := time.Now()
	for i := range 150 {
		e.recordDecision(i, "bob@example.com", "allow", "rule_allow", now.Add(time.Duration(i-3000)*time.Second))
	}
	denied := e.recordDecision(150, "carol@example.com", "deny", "no_rule", now)
	page := e.page(e.otto, "/decisions").Body.String()
	first, second := strings.Index(page, "carol@example.com"), strings.Index(page, "bob@example.com")
	if first < 0 || second < first || strings.Count(page, "<tr id=") != 100 || !strings.Contains(page, "before=") || !strings.Contains(page, "/page&lt;1&gt;") {
		t.Errorf("the newest are not first, or there is no link to older ones: %d %d", first, second)
	}
	for query, want := range map[string]int{"person=carol@example.com": 1, "person=" + e.user("carol@example.com").ID: 1, "person=nobody": 0, "decision=deny": 1, "decision=allow&route=wiki": 100,
		"reason=no_rule": 1, "reason=no_rule&decision=allow": 0, "route=payroll": 0, "since=10m": 1, "since=2h&person=bob@example.com": 100, "until=" + url.QueryEscape(now.Add(-2900*time.Second).UTC().Format(time.RFC3339Nano)): 100} {
		if got := strings.Count(e.page(e.otto, "/decisions?"+query).Body.String(), "<tr id="); got != want {
			t.Errorf("%s: %d rows, want %d", query, got, want)
		}
	}
	var rows []map[string]any
	body := e.get(e.otto, "/decisions?format=json").Body.Bytes()
	if err := json.Unmarshal(body, &rows); err != nil || len(rows) != 100 || rows[0]["request"] != denied || rows[0]["decision"] != "deny" || rows[0]["time"] == "" {
		t.Errorf("%v %s", err, body[:min(len(body), 300)])
	}
	if res := e.get(e.otto, "/decisions?request="+denied); res.Code != http.StatusFound || !strings.HasSuffix(res.Header().Get("Location"), "/decisions/"+denied) {
		t.Errorf("a number leads to %d %s", res.Code, res.Header().Get("Location"))
	}
	for _, query := range []string{"request=x", "since=x", "decision=maybe"} {
		if page := e.page(e.otto, "/decisions?"+query).Body.String(); !strings.Contains(page, "cannot be read") {
			t.Errorf("%s is not said to be wrong", query)
		}
	}
	if res := e.get(e.otto, "/decisions?before=x"); res.Code == http.StatusOK {
		t.Error("a place that is none is accepted")
	}
}

// TestDecisions_PagesAreWhole: going on from page to page shows each decision once.
func TestDecisions_PagesAreWhole(t *testing.T) {
	e := newEnv(t)
	for i := range 350 {
		e.recordDecision(i, "bob@example.com", "allow", "rule_allow", time.Now().Add(-time.Hour))
	}
	seen := map[string]bool{}
	for path, pages := "/decisions", 0; path != ""; pages++ {
		page := e.page(e.ada, path)
		for _, row := range strings.Split(page.Body.String(), `<tr id="d`)[1:] {
			if seen[row[:32]] {
				t.Errorf("%s is there twice", row[:32])
			}
			seen[row[:32]] = true
		}
		path = ""
		if _, after, ok := strings.Cut(page.Body.String(), `rel="next" href="`); ok {
			query, _, _ := strings.Cut(after, `"`)
			path = "/decisions" + strings.ReplaceAll(query, "&amp;", "&")
		}
		if pages > 10 {
			t.Fatal("the pages do not end")
		}
	}
	if len(seen) != 350 {
		t.Errorf("%d of 350 are shown", len(seen))
	}
}

func TestDecision_IsExplainedThenAndNow(t *testing.T) {
	e := newEnv(t)
	id := e.recordDecision(1, "bob@example.com", "allow", "rule_allow", time.Now())
	e.recordDecision(2, "carol@example.com", "deny", "no_rule", time.Now())
	cut := audit.Event{Time: time.Now().UTC(), Kind: audit.KindCut, Request: id, User: e.user("bob@example.com").ID, Route: "wiki", Reason: "no_rule", Detail: map[string]string{"begun": "x", "change": "77"}}
	bob := e.user("bob@example.com").ID
	e.change(func(tx *directory.Tx) error {
		g, err := tx.GroupByExternalID("g-sre")
		if err == nil {
			_, err = tx.RemoveMembers(g.ID, []string{bob})
		}
		return err
	})
	if err := e.record.Write(cut); err != nil {
		t.Fatal(err)
	}
	var c struct {
		Story struct {
			Cut *audit.Event `json:"cut"`
		} `json:"story"`
		Then struct {
			Explanation struct{ Allow bool } `json:"explanation"`
			LoadsKnown  bool                 `json:"loads_known"`
			Loads       []any                `json:"loads"`
		} `json:"then"`
		Now struct{ Allow bool } `json:"now"`
	}
	read := func() {
		t.Helper()
		if err := json.Unmarshal(e.get(e.otto, "/decisions/"+id+"?format=json").Body.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
	}
	if read(); !c.Then.Explanation.Allow || c.Now.Allow || !c.Then.LoadsKnown || len(c.Then.Loads) != 0 || c.Story.Cut == nil {
		t.Errorf("%+v", c)
	}
	page := e.page(e.otto, "/decisions/"+id).Body.String()
	for _, want := range []string{"It was let in, and ended at", "change 77", "As it was decided", "As it would be decided now", "sre[0]", "/page&lt;1&gt;", "203.0.113.7", "the rules are those of then", "/people/" + bob} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	reload := audit.Event{Time: time.Now().UTC(), Kind: audit.KindConfig, Reason: "reloaded", Actor: audit.Actor{Kind: audit.ActorOperator, Name: "root"}, Detail: map[string]string{"version": "1"}}
	if err := e.record.Write(reload); err != nil {
		t.Fatal(err)
	}
	e.settings.Policies[0] = policy.Named{Name: "sre", Rules: []policy.Rule{{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: "g-payroll"}}}}}}
	page = e.page(e.ada, "/decisions/"+id).Body.String()
	for _, want := range []string{"the record tells of 1 loads", "would have been another one", "by root"} {
		if !strings.Contains(page, want) {
			t.Errorf("after a reload, the page lacks %q", want)
		}
	}
}

func TestDecision_IsNotThere(t *testing.T) {
	e := newEnv(t)
	e.recordDecision(1, "bob@example.com", "allow", "rule_allow", time.Now())
	for _, path := range []string{"/decisions/" + strings.Repeat("0", 32), "/decisions/x", "/decisions/" + strings.Repeat("Z", 32)} {
		if res := e.get(e.otto, path); res.Code != http.StatusNotFound || res.err != nil {
			t.Errorf("%s: %d %v", path, res.Code, res.err)
		}
	}
}

func TestDecisions_AreFollowed(t *testing.T) {
	e := newEnv(t)
	next, stop := e.stream(e.otto, "/decisions/events?decision=deny&person="+url.QueryEscape("carol@example.com"))
	defer stop()
	if name, _ := next(); name != "begun" {
		t.Fatal(name)
	}
	e.recordDecision(1, "bob@example.com", "deny", "no_rule", time.Now())
	e.recordDecision(2, "carol@example.com", "allow", "rule_allow", time.Now())
	id := e.recordDecision(3, "carol@example.com", "deny", "no_rule", time.Now())
	var sent struct{ Rows, Dropped string }
	name, data := next()
	if err := json.Unmarshal(data, &sent); err != nil || name != "decisions" || strings.Count(sent.Rows, "<tr id=") != 1 || !strings.Contains(sent.Rows, id) || sent.Dropped != "" {
		t.Errorf("%s %s %v", name, data, err)
	}
	for i := range 150 {
		e.recordDecision(10+i, "carol@example.com", "deny", "no_rule", time.Now())
	}
	rows, dropped := 0, ""
	for dropped == "" && rows < 150 {
		sent.Dropped = ""
		_, data := next()
		if err := json.Unmarshal(data, &sent); err != nil {
			t.Fatal(err)
		}
		rows, dropped = rows+strings.Count(sent.Rows, "<tr id="), sent.Dropped
	}
	if dropped == "" && rows < 150 || dropped != "" && rows > 149 {
		t.Errorf("%d rows, dropped: %q", rows, dropped)
	}
}
