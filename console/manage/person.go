package manage

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/admin"
	"sallyport/console"
	"sallyport/directory"
)

// personContent is what the pages of a person show.
type personContent struct {
	admin.UserFacts

	Tabs          []tab        `json:"-"`
	State         Cell         `json:"-"`
	RoutesTable   *Table       `json:"-"`
	GroupsTable   *Table       `json:"-"`
	SessionsTable *Table       `json:"-"`
	GrantsTable   *Table       `json:"-"`
	Question      questionForm `json:"-"`
	MoreRoutes    int          `json:"-"` // how many routes are left out
	RolesShown    []string     `json:"-"`
	MoreGroups    int          `json:"-"`
	Self          bool         `json:"-"` // the person is who looks
}

// How many routes and groups, and how many roles, of one person are listed.
const (
	maxListed = 200
	maxRoles  = 50
)

// person serves the page of one person.
func (h *Handler) person(q *request) error {
	facts, err := h.personFacts(q)
	if err != nil {
		return err
	}
	c := personContent{UserFacts: facts, Tabs: h.personTabs(q, facts.ID), State: h.userStateCell(facts.User, facts.Stale), Self: facts.ID == q.User.ID,
		RoutesTable: h.routesTable(facts), GroupsTable: h.groupsTable(facts), SessionsTable: h.sessionsTable(q, facts), GrantsTable: h.grantsTable(facts),
		MoreRoutes: max(0, len(facts.Routes)-maxListed), MoreGroups: max(0, len(facts.Groups)-maxListed)}
	c.Question = h.questionForm(q, admin.Question{User: facts.ID, Method: http.MethodGet})
	c.Question.Fixed = true
	c.RolesShown = facts.Roles[:min(len(facts.Roles), maxRoles)]
	return q.show(page{Name: "person", Title: nameOf(facts.User), Content: c})
}

// personFacts returns what is known of the person that the path names. Whoever is not there is [console.ErrNoPage].
func (h *Handler) personFacts(q *request) (admin.UserFacts, error) {
	facts, err := h.Admin.UserFacts(q.Context(), q.actor(), q.PathValue("id"))
	if err != nil {
		return facts, errors.Join(console.ErrNoPage, err)
	}
	return facts, nil
}

func (h *Handler) personTabs(q *request, id string) []tab {
	return h.detailTabs(q, "/people/"+id, "person")
}

// detailTabs returns the views of one person or group.
func (h *Handler) detailTabs(q *request, path, name string) []tab {
	tabs := []tab{}
	for _, view := range []string{"", "/history", "/record"} {
		text := name + ".overview"
		if view != "" {
			text = "person." + view[1:]
		}
		tabs = append(tabs, tab{Text: h.say(text), Path: path + view, Here: q.URL.Path == path+view})
	}
	return tabs
}

// routesTable lists the routes that a person reaches, and why.
func (h *Handler) routesTable(f admin.UserFacts) *Table {
	empty := "person.no_routes"
	if !f.Active || f.User.Suspended != "" || f.Damaged {
		empty = "person.barred"
	}
	t := &Table{Caption: h.say("person.routes"), Empty: h.say(empty), Columns: []Column{{Key: "route", Title: h.say("person.route")}, {Key: "by", Title: h.say("person.by")},
		{Key: "except", Title: h.say("person.except")}, {Key: "why", Title: h.say("person.explain")}}}
	for _, r := range f.Routes[:min(len(f.Routes), maxListed)] {
		by, except, _ := strings.Cut(r.String(), "; except ")
		t.Rows = append(t.Rows, []Cell{link(r.Route, "/routes/"+url.PathEscape(r.Route)), {Text: by, Code: true}, text(except), link(h.say("person.explain_link"), whyPath(f.ID, r.Route))})
	}
	return t
}

// whyPath returns the path of the page that says whether a person may open a route.
func whyPath(user, route string) string {
	return "/why?" + url.Values{"user": {user}, "route": {route}}.Encode()
}

func (h *Handler) groupsTable(f admin.UserFacts) *Table {
	t := &Table{Caption: h.say("groups.title"), Empty: h.say("person.no_groups"), Columns: []Column{{Key: "group", Title: h.say("group.name")}, {Key: "members", Title: h.say("group.members"), Right: true},
		{Key: "note", Title: h.say("person.note"), Data: !slices.ContainsFunc(f.Groups, func(g admin.UserGroup) bool { return g.Revoked })}}}
	for _, g := range f.Groups[:min(len(f.Groups), maxListed)] {
		note := text("")
		if g.Revoked {
			note = Cell{Text: h.say("person.revoked"), Mark: "no"}
		}
		t.Rows = append(t.Rows, []Cell{named(groupName(g.Group)).to("/groups/" + g.ID), number(g.Members), note})
	}
	return t
}

func (h *Handler) sessionsTable(q *request, f admin.UserFacts) *Table {
	t := &Table{Caption: h.say("person.sessions"), Empty: h.say("person.no_sessions"), Columns: []Column{{Key: "began", Title: h.say("person.began")}, {Key: "used", Title: h.say("person.used")},
		{Key: "expires", Title: h.say("person.expires")}, {Key: "address", Title: h.say("person.address")}, {Key: "id", Title: h.say("person.session")}}}
	if q.Viewer.Admin {
		t.Columns = append(t.Columns, Column{Key: "end", Title: h.say("person.actions")})
	}
	for _, s := range f.Sessions[:min(len(f.Sessions), maxListed)] {
		id := Cell{Text: s.ID, Code: true}
		if s.BreakGlass != "" {
			id = Cell{Text: h.say("person.breakglass", s.BreakGlass), Mark: "fault"}
		}
		row := []Cell{at(s.Began), at(s.Used), at(s.Expires), {Text: s.Address, Code: true}, id}
		if q.Viewer.Admin {
			row = append(row, Cell{Action: &Action{Path: "/people/" + f.ID + "/sessions", Text: h.say("person.end"), Fields: map[string]string{"session": s.ID}}})
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func (h *Handler) grantsTable(f admin.UserFacts) *Table {
	t := &Table{Caption: h.say("person.grants"), Empty: h.say("person.no_grants"), Columns: []Column{{Key: "policy", Title: h.say("person.policy")}, {Key: "route", Title: h.say("person.route")},
		{Key: "state", Title: h.say("people.state")}, {Key: "began", Title: h.say("person.began")}, {Key: "until", Title: h.say("person.until")}}}
	for _, g := range f.Grants[:min(len(f.Grants), maxListed)] {
		state := Cell{Text: h.say("person.grant." + string(g.State)), Mark: "quiet"}
		if g.State == admin.GrantOpen {
			state.Mark = "yes"
		}
		t.Rows = append(t.Rows, []Cell{link(g.Policy, "/requests/grants/"+g.ID), text(g.Route), state, at(g.Began), at(g.Until)})
	}
	return t
}

// historyContent is what the history of a person or group shows.
type historyContent struct {
	admin.Changes

	Name  string `json:"-"`
	Tabs  []tab  `json:"-"`
	Gone  bool   `json:"-"` // the person or group is deleted
	Older string `json:"-"` // the query of earlier changes; "" if there are none
	None  string `json:"-"` // why there is no history; "" if there is one
}

// personHistory serves the changes of a person, who may be deleted.
func (h *Handler) personHistory(q *request) error {
	id := q.PathValue("id")
	c := historyContent{Name: id, Gone: true}
	if facts, err := h.Admin.UserFacts(q.Context(), q.actor(), id); err == nil {
		id, c.Gone, c.Name = facts.ID, false, nameOf(facts.User)
	}
	c.Tabs = h.personTabs(q, id)
	return h.showHistory(q, id, c)
}

// How many changes a page of a history has at most, and of how many bytes, and how long they are looked for: whoever reads
// on asks for more.
const (
	maxChanges     = 50
	maxChangesText = 64 << 10
	historyTime    = 150 * time.Millisecond
)

// fit leaves out the changes that would make the page too long, and all but the first things that one change made different.
func (c *historyContent) fit() {
	left := maxChangesText
	for i := range c.Changes.Changes {
		change := &c.Changes.Changes[i]
		if more := len(change.What) - maxChanges; more > 0 {
			change.What = append(change.What[:maxChanges:maxChanges], admin.Difference{Kind: admin.DifferenceMore, Field: "different", Count: more})
		}
		for j := range change.What {
			d := &change.What[j]
			d.Name = clip(d.Name)
			left -= len(d.Before) + len(d.After) + len(d.Name) + len(d.Field) + 100
		}
		if left < 0 && i > 0 {
			c.Next, c.Since = c.Changes.Changes[i-1].Revision, c.Changes.Changes[i-1].Time
			c.Changes.Changes = c.Changes.Changes[:i]
			return
		}
	}
}

// showHistory serves the changes of what has an id.
func (h *Handler) showHistory(q *request, id string, c historyContent) error {
	before, _ := strconv.ParseUint(q.URL.Query().Get("before"), 10, 64)
	var err error
	c.Changes, err = h.Admin.Changes(q.Context(), q.actor(), id, directory.HistoryQuery{Before: before, Limit: maxChanges, Within: historyTime})
	switch {
	case errors.Is(err, directory.ErrNoHistory):
		c.None = err.Error()
	case err != nil || c.Gone && len(c.Changes.Changes) == 0 && before == 0:
		return errors.Join(console.ErrNoPage, err)
	}
	c.fit()
	if c.Next > 0 {
		c.Older = "?" + url.Values{"before": {strconv.FormatUint(c.Next, 10)}}.Encode()
	}
	t := &Table{Columns: []Column{{Key: "time"}, {Key: "revision"}, {Key: "by"}, {Key: "address"}, {Key: "push"}, {Key: "what"}}}
	for _, change := range c.Changes.Changes {
		for _, what := range change.What {
			t.Rows = append(t.Rows, []Cell{at(change.Time), number(change.Revision), text(strings.TrimSpace(change.By.Kind + " " + change.By.Name)), text(change.Address), text(change.Push), text(what.String())})
		}
	}
	return q.show(page{Name: "history", Title: h.say("history.of", clip(c.Name)), Content: c, Table: t})
}

// recordContent is a record as it was pushed.
type recordContent struct {
	Name     string
	Tabs     []tab
	Document string
	Cut      bool // Document is the beginning of the record
}

// maxRecord is how much of a record is shown, in bytes. The whole of it can be had as JSON.
const maxRecord = 64 << 10

// personRecord serves the SCIM record of a person.
func (h *Handler) personRecord(q *request) error {
	facts, err := h.personFacts(q)
	if err != nil {
		return err
	}
	return h.showRecord(q, nameOf(facts.User), h.personTabs(q, facts.ID), facts.Document)
}

func (h *Handler) showRecord(q *request, name string, tabs []tab, document json.RawMessage) error {
	if q.URL.Query().Get("format") == "json" {
		if len(document) == 0 {
			document = json.RawMessage("{}")
		}
		return q.show(page{Name: "resource", Content: document})
	}
	var text bytes.Buffer
	if json.Indent(&text, document, "", "  ") != nil {
		text.Reset()
		text.Write(document)
	}
	shown, isCut := text.String(), text.Len() > maxRecord
	if isCut {
		shown = strings.ToValidUTF8(shown[:maxRecord], "") + "…"
	}
	return q.show(page{Name: "resource", Title: h.say("resource.of", clip(name)), Content: recordContent{name, tabs, shown, isCut}})
}

// suspend denies a person everything.
func (h *Handler) suspend(q *request) error {
	to := "/people/" + url.PathEscape(q.PathValue("id"))
	_, err := h.Admin.Suspend(q.Context(), q.actor(), q.PathValue("id"), q.PostForm.Get("reason"))
	return q.finish(err, to, "suspended", to)
}

// unsuspend ends the suspension of a person, who may be deleted.
func (h *Handler) unsuspend(q *request) error {
	id := q.PathValue("id")
	to := "/people/" + url.PathEscape(id)
	err := h.Admin.Unsuspend(q.Context(), q.actor(), id)
	if _, gone := h.Admin.UserFacts(q.Context(), q.actor(), id); gone != nil {
		to = "/people?state=suspended"
	}
	return q.finish(err, to, "unsuspended", to)
}

// endSessions ends one session of a person, or all of them.
func (h *Handler) endSessions(q *request) error {
	id := q.PathValue("id")
	to := "/people/" + url.PathEscape(id)
	chosen := q.PostForm.Get("session")
	if chosen == "" {
		facts, err := h.personFacts(q)
		if err != nil {
			return err
		}
		_, err = h.Admin.EndUserSessions(q.Context(), q.actor(), facts.ID)
		return q.finish(err, to, "sessions_ended", to)
	}
	sessions, err := h.Admin.SessionsOf(q.Context(), q.actor(), id)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(sessions, func(s admin.Session) bool { return s.ID == chosen }) {
		return q.failed(http.StatusConflict, h.say("person.session_gone"), to)
	}
	return q.finish(h.Admin.EndSession(q.Context(), q.actor(), chosen), to, "session_ended", to)
}

// isNamed reports whether somebody wrote a name as it is, or as pages show it.
func isNamed(written, name string) bool {
	return strings.TrimSpace(console.Straightened(written)) == strings.TrimSpace(console.Straightened(name))
}

// removePerson deletes a person, whose userName was written again.
func (h *Handler) removePerson(q *request) error {
	facts, err := h.personFacts(q)
	if err != nil {
		return err
	}
	to := "/people/" + facts.ID
	if !isNamed(q.PostForm.Get("name"), facts.UserName) {
		return q.failed(http.StatusUnprocessableEntity, h.say("person.other_name", facts.UserName), to)
	}
	_, err = h.Admin.RemoveUser(q.Context(), q.actor(), facts.ID)
	return q.finish(err, "/people", "removed", to)
}
