package manage

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sallyport/admin"
)

// peopleRoutes registers the pages of people and groups, of who reaches what, and of the search.
func (h *Handler) peopleRoutes() {
	h.get("/people", h.people)
	h.get("/people/{id}", h.person)
	h.get("/people/{id}/history", h.personHistory)
	h.get("/people/{id}/record", h.personRecord)
	h.post("/people/{id}/suspend", h.suspend)
	h.post("/people/{id}/unsuspend", h.unsuspend)
	h.post("/people/{id}/sessions", h.endSessions)
	h.post("/people/{id}/remove", h.removePerson)
	h.post("/people/remove", h.removeStalePeople)
	h.get("/groups", h.groups)
	h.get("/groups/{id}", h.group)
	h.get("/groups/{id}/history", h.groupHistory)
	h.get("/groups/{id}/record", h.groupRecord)
	h.post("/groups/{id}/remove", h.removeGroup)
	h.post("/groups/remove", h.removeStaleGroups)
	h.get("/why", h.whyNot)
	h.get("/search", h.search)
}

// stateTabs returns the views of a list, one for each state and one for all. Of those that are seldom there, only those are
// returned that have entries.
func stateTabs[S ~string](h *Handler, page string, query url.Values, chosen S, all int, states []S, counts map[S]int, seldom ...S) []tab {
	to := func(state string) string {
		q := url.Values{}
		if text := query.Get("q"); text != "" {
			q.Set("q", text)
		}
		if state != "" {
			q.Set("state", state)
		}
		if len(q) == 0 {
			return "/" + page
		}
		return "/" + page + "?" + q.Encode()
	}
	tabs := []tab{{h.say(page + ".all"), to(""), all, chosen == ""}}
	for _, state := range states {
		if counts[state] > 0 || state == chosen || !slices.Contains(seldom, state) {
			tabs = append(tabs, tab{h.say(page + ".state." + string(state)), to(string(state)), counts[state], state == chosen})
		}
	}
	return tabs
}

// maxListPage is the last page of a list of people or groups: nobody reads further, and the list can be searched.
const maxListPage = 100

// listPage returns where the page of a list begins that a query asks for.
func listPage(query url.Values) (n, from int) {
	n, _ = strconv.Atoi(query.Get("page"))
	n = min(max(n, 1), maxListPage)
	return n, (n - 1) * perPage
}

// nextPage returns the query of the next page of a list, or "".
func nextPage(query url.Values, n, total int) string {
	if n*perPage >= total || n >= maxListPage {
		return ""
	}
	next := url.Values{}
	maps.Copy(next, query)
	next.Del("done")
	next.Set("page", strconv.Itoa(n+1))
	return "?" + next.Encode()
}

// isCutOff reports whether there are more rows than pages of a list.
func isCutOff(n, total int) bool { return n >= maxListPage && n*perPage < total }

// listContent is what a page with a list of people or of groups shows beside its table.
type listContent struct {
	Search  string
	State   string
	Tabs    []tab
	Total   int
	From    int // the number of the first row, from 1; 0 if there is none
	To      int
	CutOff  bool     // there are more, which no page lists
	Choose  string   // where the chosen rows are sent to; "" if none can be chosen
	Wrong   []string // filters that cannot be read
	Deleted *Table   // people who are deleted and still suspended; nil if there are none
}

// people serves the list of people.
func (h *Handler) people(q *request) error {
	f := q.filter()
	states := make([]string, len(admin.UserStates))
	for i, s := range admin.UserStates {
		states[i] = string(s)
	}
	n, from := listPage(f.Values)
	query := admin.UserQuery{Text: f.text("q"), State: admin.UserState(f.oneOf("state", states)), From: from, Limit: perPage}
	found, err := h.Admin.FindUsers(q.Context(), q.actor(), query)
	if err != nil {
		return err
	}
	c := listContent{Search: query.Text, State: string(query.State), Total: found.Total, From: min(from+1, found.Total), To: from + len(found.Users), Wrong: f.wrong, CutOff: isCutOff(n, found.Total),
		Tabs: stateTabs(h, "people", f.Values, query.State, found.Any, admin.UserStates, found.States, admin.UserDamaged)}
	if query.State == admin.UserStale && q.Viewer.Admin && len(found.Users) > 0 {
		c.Choose = "/people/remove"
	}
	if query.State == admin.UserSuspended {
		if c.Deleted, err = h.deletedPeople(q, query.Text); err != nil {
			return err
		}
	}
	t := &Table{Caption: h.say("people.title"), Empty: h.say("people.empty"), Next: nextPage(f.Values, n, found.Total),
		Columns: []Column{{Key: "displayName", Title: h.say("people.name")}, {Key: "userName", Title: h.say("people.username")}, {Key: "state", Title: h.say("people.state")},
			{Key: "groups", Title: h.say("people.groups"), Right: true}, {Key: "changed", Title: h.say("people.changed")}, {Key: "externalId", Data: true}, {Key: "id", Data: true}}}
	if c.Choose != "" {
		t.Columns = append([]Column{{Key: "choose", Title: h.say("people.choose")}}, t.Columns...)
	}
	for _, u := range found.Users {
		row := []Cell{named(nameOf(u.User)).to("/people/" + u.ID), named(u.UserName), h.userStateCell(u.User, u.Stale), number(u.Groups), at(u.Changed), text(u.ExternalID), text(u.ID)}
		if c.Choose != "" {
			row = append([]Cell{{Check: &Check{Form: "choose", Name: "id", Value: u.ID, Label: h.say("layout.choose", clip(nameOf(u.User)))}}}, row...)
		}
		t.Rows = append(t.Rows, row)
	}
	return q.show(page{Name: "people", Content: c, Table: t})
}

// deletedPeople returns the people who are deleted and still suspended, or nil if there are none.
func (h *Handler) deletedPeople(q *request, search string) (*Table, error) {
	users, err := h.Admin.SuspendedDeleted(q.Context(), q.actor(), search)
	if err != nil || len(users) == 0 {
		return nil, err
	}
	t := &Table{Caption: h.say("people.deleted"), Columns: []Column{{Key: "userName", Title: h.say("people.username")}, {Key: "suspended", Title: h.say("person.why")},
		{Key: "externalId", Title: h.say("people.external")}}}
	if q.Viewer.Admin {
		t.Columns = append(t.Columns, Column{Key: "action", Title: h.say("person.actions")})
	}
	for _, u := range users[:min(len(users), perPage)] {
		row := []Cell{named(u.UserName), named(u.Suspended), named(u.ExternalID)}
		if q.Viewer.Admin {
			row = append(row, Cell{Action: &Action{Path: "/people/" + u.ID + "/unsuspend", Text: h.say("person.unsuspend")}})
		}
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}

// nameOf returns what a user is called on pages.
func nameOf(u admin.User) string {
	for _, name := range []string{u.Name, u.UserName} {
		if strings.TrimSpace(name) != "" {
			return name
		}
	}
	return u.ID
}

// userStateCell returns a cell with the state of a user in words.
func (h *Handler) userStateCell(u admin.User, stale bool) Cell {
	switch {
	case u.Damaged:
		return Cell{Text: h.say("people.state.damaged"), Mark: "no"}
	case u.Suspended != "":
		return Cell{Text: h.say("people.state.suspended"), Mark: "no"}
	case stale:
		return Cell{Text: h.say("people.state.stale"), Mark: "fault"}
	case !u.Active:
		return Cell{Text: h.say("people.state.inactive"), Mark: "quiet"}
	}
	return Cell{Text: h.say("people.state.active"), Mark: "yes"}
}

// removeStalePeople removes the people who were chosen among those whom the identity provider forgot.
func (h *Handler) removeStalePeople(q *request) error {
	const back = "/people?state=stale"
	removed, err := h.Admin.RemoveStaleUsers(q.Context(), q.actor(), q.PostForm["id"])
	if err != nil && removed > 0 {
		return q.failedPartly(h.say("people.removed_some", removed, err.Error()), back)
	}
	return q.finish(err, back, "removed", back)
}
