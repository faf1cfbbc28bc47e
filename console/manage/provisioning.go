package manage

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"sallyport/admin"
	"sallyport/console"
)

// tab is a part of a section that is spread over several pages.
type tab struct {
	Text, Path string
	Count      int // of what waits there; 0 for none
	Here       bool
}

// provisioningTabs returns the parts of the section, of which one is the page itself.
func (q *request) provisioningTabs(here string) ([]tab, error) {
	held, err := q.handler.Admin.HeldPeople(q.Context(), q.actor(), 0, 0)
	if err != nil {
		return nil, err
	}
	return q.tabs("provisioning", here, map[string]int{"held": held.Waiting}, "", "tokens", "held", "drift"), nil
}

// tabs returns the parts of a section. Their names are those of their paths, and their texts SECTION.tab.NAME.
func (q *request) tabs(section, here string, counts map[string]int, names ...string) (list []tab) {
	for _, name := range names {
		t := tab{Path: "/" + section, Count: counts[name], Here: name == here, Text: q.handler.say(section + ".tab." + name)}
		if name != "" {
			t.Path += "/" + name
		}
		list = append(list, t)
	}
	return list
}

// pushesContent is the page of pushes.
type pushesContent struct {
	Tabs     []tab
	Filter   url.Values
	Outcomes []choice
	Tokens   []choice
	Methods  []choice
	Wrong    []string
}

// pushes serves the list of pushes.
func (h *Handler) pushes(q *request) error {
	tabs, err := q.provisioningTabs("")
	if err != nil {
		return err
	}
	tokens, err := h.Admin.Tokens(q.Context(), q.actor())
	if err != nil {
		return err
	}
	f := q.filter()
	wanted := admin.PushFilter{Token: f.text("token"), Method: f.oneOf("method", pushMethods), Quirk: f.text("quirk"), Resource: f.text("resource"),
		Text: f.text("text"), Since: f.time("since", false), Until: f.time("until", true)}
	if outcome := f.oneOf("outcome", admin.Outcomes()); outcome != "" {
		wanted.Outcomes = []string{outcome}
	}
	if before := f.text("before"); before != "" {
		if wanted.Before, err = strconv.ParseUint(before, 10, 64); err != nil {
			f.wrong = append(f.wrong, "before")
		}
	}
	var found admin.Pushes
	if len(f.wrong) == 0 {
		if found, err = h.Admin.Pushes(q.Context(), q.actor(), wanted, perPage); err != nil {
			return err
		}
	}
	content := pushesContent{Tabs: tabs, Filter: f.Values, Wrong: f.wrong, Outcomes: h.choices("provisioning.outcome.", f.text("outcome"), admin.Outcomes()),
		Methods: h.choices("", f.text("method"), pushMethods), Tokens: h.choices("", f.text("token"), tokenNames(tokens))}
	return q.show(page{Name: "provisioning", Content: content, Table: h.pushTable(found, f.Values)})
}

var pushMethods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// tokenNames returns the names of tokens, each once.
func tokenNames(tokens []admin.Token) (names []string) {
	seen := map[string]bool{"": true}
	for _, t := range tokens {
		if !seen[t.Name] {
			seen[t.Name] = true
			names = append(names, t.Name)
		}
	}
	return names
}

func (h *Handler) pushTable(found admin.Pushes, query url.Values) *Table {
	t := h.table("provisioning", "time", "request", "resource", "outcome", "code", "what", "token", "took", "quirks")
	t.Empty = h.say("provisioning.empty")
	t.right("code", "took")
	for _, p := range found.Pushes {
		quirks := strings.Join(p.QuirkNames(), ", ")
		token := text(p.Token)
		if p.Token == "" {
			token = Cell{Text: p.Address, Mark: "quiet"}
		}
		t.Rows = append(t.Rows, []Cell{at(p.Time), link(shortTarget(p), pushPath(p.Number)), h.resourceCell(p), h.outcomeCell(p), number(p.Code),
			{Text: whatOf(p), Mark: "long clamp"}, token, {Number: &p.Milliseconds, Unit: "ms"}, {Text: quirks, Mark: "quiet"}})
	}
	if found.Next > 0 {
		t.Next = withQuery(query, "before", strconv.FormatUint(found.Next, 10))
	}
	return t
}

// table returns an empty table whose columns have the texts PAGE.column.KEY.
func (h *Handler) table(pageName string, keys ...string) *Table {
	t := new(Table)
	for _, key := range keys {
		t.Columns = append(t.Columns, Column{Key: key, Title: h.say(pageName + ".column." + key)})
	}
	return t
}

// right aligns columns of numbers.
func (t *Table) right(keys ...string) {
	for i := range t.Columns {
		for _, key := range keys {
			t.Columns[i].Right = t.Columns[i].Right || t.Columns[i].Key == key
		}
	}
}

// withQuery returns a query with another value of a key.
func withQuery(query url.Values, key, value string) string {
	other := maps.Clone(query)
	if other == nil {
		other = url.Values{}
	}
	other.Set(key, value)
	other.Del("done")
	return "?" + other.Encode()
}

// shortTarget returns the method and the target of a push without the id of its resource, which is in a column of its own.
func shortTarget(p admin.Push) string {
	target := p.Target
	if p.Resource != "" {
		target = strings.Replace(target, p.Resource, "…", 1)
	}
	if runes := []rune(target); len(runes) > maxTarget {
		target = string(runes[:maxTarget]) + "…"
	}
	return p.Method + " " + target
}

// maxTarget is how many characters of a target the list of pushes shows.
const maxTarget = 60

func pushPath(n uint64) string { return "/provisioning/pushes/" + strconv.FormatUint(n, 10) }

// whatOf says what a push changed, or else why it did not.
func whatOf(p admin.Push) string {
	if p.Problem != "" {
		return p.Problem
	}
	return strings.Join(p.Changes, ", ")
}

// resourceCell names the user or group that a push was about.
func (h *Handler) resourceCell(p admin.Push) Cell {
	switch {
	case p.Resource == "":
		return text("")
	case p.Kind == "user":
		return link(p.Name, "/people/"+p.Resource)
	case p.Kind == "group":
		return link(p.Name, "/groups/"+p.Resource)
	}
	return Cell{Text: p.Resource, Mark: "quiet", Code: true}
}

// outcomeMarks are the classes of outcomes.
var outcomeMarks = map[string]string{"changed": "yes", "unchanged": "quiet", "read": "quiet", "missing": "quiet", "held": "fault", "refused": "no", "failed": "no", "no_token": "no"}

func (h *Handler) outcomeCell(p admin.Push) Cell {
	return Cell{Text: h.say("provisioning.outcome." + p.Outcome), Mark: outcomeMarks[p.Outcome]}
}

// pushContent is the page of one push.
type pushContent struct {
	Push     admin.Push
	Resource Cell
	Outcome  Cell
	Quirks   []quirkCount
	Older    string // the path of the push before it, and after it
	Newer    string
	Same     string // the list of the pushes about the same resource
}

// quirkCount is a way in which a push deviated from the RFCs.
type quirkCount struct {
	Name, Text string
	Count      int
}

// push serves one push.
func (h *Handler) push(q *request) error {
	n, err := strconv.ParseUint(q.PathValue("number"), 10, 64)
	if err != nil {
		return console.ErrNoPage
	}
	p, err := h.Admin.Push(q.Context(), q.actor(), n)
	if errors.Is(err, admin.ErrNoPush) {
		return q.missing(h.say("push.gone"), "/provisioning")
	}
	if err != nil {
		return err
	}
	content := pushContent{Push: p, Resource: h.resourceCell(p), Outcome: h.outcomeCell(p)}
	for _, name := range p.QuirkNames() {
		content.Quirks = append(content.Quirks, quirkCount{name, h.say("quirk." + name), countOf(p, name)})
	}
	for to, other := range map[*string]uint64{&content.Older: n - 1, &content.Newer: n + 1} {
		if _, err := h.Admin.Push(q.Context(), q.actor(), other); err == nil {
			*to = pushPath(other)
		}
	}
	if p.Resource != "" {
		content.Same = "/provisioning?resource=" + url.QueryEscape(p.Resource)
	}
	return q.show(page{Name: "push", Title: h.say("push.title", fmt.Sprintf("%d", n)), Content: content})
}

func countOf(p admin.Push, quirk string) int {
	for q, n := range p.Quirks {
		if string(q) == quirk {
			return n
		}
	}
	return 0
}
