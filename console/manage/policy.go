package manage

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"sallyport/admin"
	"sallyport/audit/rollup"
)

// ruleRoutes says which function serves which page about routes, rules and the configuration.
func (h *Handler) ruleRoutes() {
	h.get("/routes", h.listRoutes)
	h.get("/routes/{name}", h.showRoute)
	h.get("/policy", h.showPolicy)
	h.get("/policy/tests", h.listTests)
	h.get("/policy/unused", h.listUnused)
	h.get("/policy/trials", h.listTrials)
	h.post("/policy/trials", h.tryPolicy)
	h.get("/policy/trials/{id}", h.showTrial)
	h.get("/configuration", h.showConfiguration)
}

// policyContent is what the page of the rules shows.
type policyContent struct {
	State     admin.Computed // of the findings
	Policies  []policyView
	Elsewhere []admin.Fault // findings that are about no rule that is shown
	Query     string
	Policy    string
	Odd       bool
	Begins    time.Time // of the counting of decisions; zero: they are not counted
	Missing   []admin.Missing
}

// policyView is a policy with those of its rules that are shown.
type policyView struct {
	Name   string
	Routes []string
	Rules  []ruleView
}

// ruleView is a rule as the page shows it.
type ruleView struct {
	admin.RuleView

	Findings []admin.Fault // what the directory shows
	Use      rollup.RuleUse
}

// Hits returns how often the rule decided.
func (r ruleView) Hits() string { return Cell{Number: new(float64(r.Use.Hits))}.Shown() }

// Reported returns how often the rule would have decided, were it not in report mode; "" if it would not.
func (r ruleView) Reported() string {
	if r.Use.Reported == 0 {
		return ""
	}
	return Cell{Number: new(float64(r.Use.Reported))}.Shown()
}

// odd reports whether there is something to look at.
func (r ruleView) odd() bool { return len(r.Notes)+len(r.Findings) > 0 }

// showPolicy serves the page of the rules in force.
func (h *Handler) showPolicy(q *request) error {
	findings, state := h.Admin.Findings(q.Context(), q.actor())
	f := q.filter()
	c := policyContent{State: state, Query: f.text("q"), Policy: f.text("policy"), Odd: f.text("odd") != ""}
	used, err := h.ruleUses(q, &c)
	if err != nil {
		return err
	}
	var list []ruleView
	for _, v := range h.Admin.RuleViews(q.Context(), q.actor()) {
		r := ruleView{v, v.Of(findings), used[v.Rule]}
		if (c.Query == "" || containsFold(c.Query, v.Rule, v.Text, strings.Join(v.Routes, " "))) && (c.Policy == "" || c.Policy == v.Policy) && (!c.Odd || r.odd()) {
			list = append(list, r)
		}
	}
	if c.Query+c.Policy == "" {
		c.Elsewhere = elsewhere(findings, list)
	}
	t := h.rulesTable()
	for _, r := range paged(t, list, q.URL.Query()) {
		t.Rows = append(t.Rows, r.row())
		if n := len(c.Policies); n == 0 || c.Policies[n-1].Name != r.Policy {
			c.Policies = append(c.Policies, policyView{Name: r.Policy, Routes: r.Routes})
		}
		last := &c.Policies[len(c.Policies)-1]
		last.Rules = append(last.Rules, r)
	}
	return q.show(page{Name: "policy", Content: c, Table: t})
}

// ruleUses returns how often rules decided, by their names.
func (h *Handler) ruleUses(q *request, c *policyContent) (map[string]rollup.RuleUse, error) {
	used := map[string]rollup.RuleUse{}
	uses, err := h.Admin.RuleUses(q.Context(), q.actor())
	if errors.Is(err, admin.ErrNoServer) {
		return used, nil
	}
	c.Begins, c.Missing = uses.Begins, uses.Missing
	for _, use := range uses.Rules {
		used[use.Rule] = use
	}
	return used, err
}

// maxFindings is how many findings a page shows beside those of rules.
const maxFindings = 100

// elsewhere returns the findings that are about no rule.
func elsewhere(findings []admin.Fault, rules []ruleView) (list []admin.Fault) {
	shown := map[admin.Fault]bool{}
	for _, r := range rules {
		for _, f := range r.Findings {
			shown[f] = true
		}
	}
	for _, f := range findings {
		if !shown[f] && len(list) < maxFindings && !strings.Contains(f.Path, ".rules[") && !strings.Contains(f.Path, ".requestable") {
			list = append(list, f)
		}
	}
	return list
}

func (h *Handler) rulesTable() *Table {
	return &Table{Caption: h.say("policy.title"), Empty: h.say("policy.none"), Columns: []Column{{Key: "policy"}, {Key: "rule"}, {Key: "effect"}, {Key: "mode"}, {Key: "text"},
		{Key: "routes"}, {Key: "line"}, {Key: "decisions"}, {Key: "last"}, {Key: "notes"}}}
}

// row returns the rule as CSV and JSON have it.
func (r ruleView) row() []Cell {
	notes := append([]string{}, r.Notes...)
	for _, f := range r.Findings {
		notes = append(notes, f.Problem)
	}
	return []Cell{text(r.Policy), text(r.Rule), text(r.Effect), text(r.Mode), text(r.Text), text(strings.Join(r.Routes, ", ")), number(r.Line), number(r.Use.Hits), at(r.Use.Last), text(strings.Join(notes, "\n"))}
}

// testsContent is what the page of the tests shows.
type testsContent struct {
	State  admin.Computed
	Of     int
	Failed int
}

// listTests serves the results of the tests in the configuration, now.
func (h *Handler) listTests(q *request) error {
	results, state := h.Admin.TestResults(q.Context(), q.actor())
	c := testsContent{State: state, Of: len(results)}
	t := &Table{Caption: h.say("tests.title"), Empty: h.say("tests.none"), Columns: []Column{{Key: "ok", Title: h.say("tests.result")}, {Key: "test", Title: h.say("tests.test")},
		{Key: "want", Title: h.say("tests.want")}, {Key: "got", Title: h.say("tests.got")}}}
	for _, r := range results {
		if !r.OK {
			c.Failed++
		}
	}
	for _, r := range paged(t, results, q.URL.Query()) {
		result := Cell{Text: h.say("tests.ok"), Mark: "yes", Data: "true"}
		if !r.OK {
			result = Cell{Text: h.say("tests.fails"), Mark: "no", Data: "false"}
		}
		t.Rows = append(t.Rows, []Cell{result, {Text: r.Case, Code: true}, text(r.Want), text(r.Got)})
	}
	return q.show(page{Name: "tests", Content: c, Table: t})
}

// policyTabs are the pages about rules.
func (v view) PolicyTabs() []section {
	return []section{{"policy", "/policy"}, {"tests", "/policy/tests"}, {"trials", "/policy/trials"}, {"unused", "/policy/unused"}}
}

func trialPath(id string) string { return "/policy/trials/" + url.PathEscape(id) }
