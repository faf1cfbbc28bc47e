package manage

import (
	"net/http"
	"net/url"

	"sallyport/access"
	"sallyport/admin"
	"sallyport/audit"
)

// decisionsContent is the page of decisions.
type decisionsContent struct {
	Filter    url.Values
	Wrong     []string
	Routes    []choice
	Reasons   []choice
	Decisions []choice
	Found     admin.DecidedList
	Older     string // the query of older decisions; "" if there are none
	Follows   bool   // the page can follow what is decided
	Replica   string // whose decisions the page follows, of several
}

// decisionFilter returns what a query asks for.
func (q *request) decisionFilter() (*filter, admin.DecisionFilter) {
	f := q.filter()
	return f, admin.DecisionFilter{Person: f.text("person"), Route: f.text("route"), Reason: f.text("reason"), Decision: f.oneOf("decision", decisionWords),
		Since: f.time("since", false), Until: f.time("until", true), Before: f.text("before")}
}

var decisionWords = []string{"allow", "deny"}

// decisions serves the page of decisions, the newest first.
func (h *Handler) decisions(q *request) error {
	f, wanted := q.decisionFilter()
	if id := f.text("request"); admin.IsRequestNumber(id) {
		http.Redirect(q, q.Request, Path+"/decisions/"+id, http.StatusFound)
		return nil
	} else if id != "" {
		f.wrong = append(f.wrong, "request")
	}
	routes, err := h.Admin.RouteNames(q.Context(), q.actor())
	if err != nil {
		return err
	}
	content := decisionsContent{Filter: f.Values, Routes: h.choices("", wanted.Route, routes), Reasons: h.choices("", wanted.Reason, decisionReasons()),
		Decisions: h.choices("decisions.", wanted.Decision, decisionWords), Follows: wanted.Before == "" && wanted.Until.IsZero()}
	if len(f.wrong) == 0 {
		if content.Found, err = h.Admin.SearchDecisions(q.Context(), q.actor(), wanted, perPage); err != nil {
			return err
		}
	}
	content.Wrong = f.wrong
	if content.Found.Next != "" {
		older := f.Values
		older.Set("before", content.Found.Next)
		content.Older = "?" + older.Encode()
	}
	if len(content.Found.Replicas) > 1 {
		content.Replica = h.Admin.Replica()
	}
	return q.show(page{Name: "decisions", Content: content, Table: h.decisionTable(content.Found.Decisions)})
}

// decisionReasons returns the reasons of decisions.
func decisionReasons() (reasons []string) {
	d, _ := audit.Describe(audit.KindDecision)
	for _, r := range d.Reasons {
		reasons = append(reasons, r.Name)
	}
	return reasons
}

func (h *Handler) decisionTable(list []admin.Decided) *Table {
	t := &Table{Caption: h.say("decisions.title"), Empty: h.say("decisions.empty"), Columns: []Column{
		{Key: "time", Title: h.say("decisions.column.time")}, {Key: "user", Title: h.say("decisions.column.user")}, {Key: "decision", Title: h.say("decisions.column.decision")},
		{Key: "reason", Title: h.say("decisions.column.reason")}, {Key: "route", Title: h.say("decisions.column.route")}, {Key: "asked", Title: h.say("decisions.column.asked")},
		{Key: "rule", Title: h.say("decisions.column.rule")}, {Key: "address", Title: h.say("decisions.column.address")},
		{Key: "request", Data: true}, {Key: "host", Data: true}, {Key: "user_id", Data: true}, {Key: "session", Data: true}, {Key: "line", Data: true}, {Key: "replica", Data: true}}}
	for _, d := range list {
		mark := "yes"
		if d.Decision == "deny" {
			mark = "no"
		}
		t.Rows = append(t.Rows, []Cell{at(d.Time), whoCell(h, d.User, d.UserName, "/decisions", "person"), {Text: h.say("decisions." + d.Decision), Raw: d.Decision, Mark: mark},
			{Text: d.Reason}, text(d.Route), {Text: d.Method + " " + d.Path, Mark: "long", Link: Path + "/decisions/" + url.PathEscape(d.Request)}, text(d.Rule), text(d.Address),
			text(d.Request), text(d.Host), text(d.User), text(d.Session), number(d.Seq), text(d.Of)})
		t.Keys = append(t.Keys, "d"+d.Request)
	}
	return t
}

// decisionContent is what the record has of one request, and what would be decided now.
type decisionContent struct {
	Request  string              `json:"request"`
	Story    admin.RequestStory  `json:"story"`
	Further  string              `json:"-"` // the query of the next step of the search; "" if there is none
	Then     *admin.Then         `json:"then,omitempty"`
	ThenLink string              `json:"-"`                 // the query that shows Then, where it takes a while
	Changed  bool                `json:"changed,omitempty"` // by the directory of then and the rules of now, it would have been decided otherwise
	Now      *access.Explanation `json:"now,omitempty"`
	Problem  string              `json:"problem,omitempty"` // why Now cannot be said

	ShownThen *shownExplanation `json:"-"`
	ShownNow  *shownExplanation `json:"-"`
}

// inlinePeople is of how many people the directory of then is read without being asked for.
const inlinePeople = 10_000

// decision serves the page of one decision.
func (h *Handler) decision(q *request) error {
	f := q.filter()
	c := decisionContent{Request: q.PathValue("request")}
	if !admin.IsRequestNumber(c.Request) {
		return q.missing(h.say("decisions.no_number", c.Request), "/decisions")
	}
	var err error
	if c.Story, err = h.Admin.FindRequest(q.Context(), q.actor(), c.Request, f.text("before"), f.text("seen")); err != nil {
		return err
	}
	status := 0
	switch d := c.Story.Decision; {
	case d != nil:
		h.explainDecision(q, &c, *d, f.text("then") != "")
	case c.Story.Next != "":
		c.Further = "?" + url.Values{"before": {c.Story.Next}, "seen": {c.Story.Seen}}.Encode()
	default:
		status = http.StatusNotFound
	}
	return q.show(page{Name: "decision", Title: h.say("decision.titled", c.Request[:8]), Status: status, Content: c})
}

// explainDecision explains a decision as it was made, and as it would be made now.
func (h *Handler) explainDecision(q *request, c *decisionContent, d admin.Decided, asked bool) {
	if asked || h.Admin.Size() <= inlinePeople {
		then := h.Admin.AsDecided(q.Context(), q.actor(), d)
		c.Then = &then
		if then.Explanation != nil {
			c.ShownThen = shown(*then.Explanation)
		}
		c.Changed = then.Explanation != nil && then.Explanation.Allow != (d.Decision == "allow")
	} else {
		c.ThenLink = "?then=1"
	}
	question := admin.Question{User: d.User, Method: d.Method, URL: "https://" + d.Host + d.Path, Address: d.Address}
	if d.User == "" && len(d.UserName) > len("app:") && d.UserName[:4] == "app:" {
		question.App = d.UserName[4:]
	}
	e, err := h.Admin.Explain(q.Context(), q.actor(), question)
	if err != nil {
		c.Problem = err.Error()
		return
	}
	c.Now, c.ShownNow = &e, shown(e)
}
