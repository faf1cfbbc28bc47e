package manage

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"sallyport/admin"
	"sallyport/console"
)

// groups serves the list of groups.
func (h *Handler) groups(q *request) error {
	f := q.filter()
	states := make([]string, len(admin.GroupStates))
	for i, s := range admin.GroupStates {
		states[i] = string(s)
	}
	n, from := listPage(f.Values)
	query := admin.GroupQuery{Text: f.text("q"), State: admin.GroupState(f.oneOf("state", states)), From: from, Limit: perPage}
	found, err := h.Admin.FindGroups(q.Context(), q.actor(), query)
	if err != nil {
		return err
	}
	c := listContent{Search: query.Text, State: string(query.State), Total: found.Total, From: min(from+1, found.Total), To: from + len(found.Groups), Wrong: f.wrong, CutOff: isCutOff(n, found.Total),
		Tabs: stateTabs(h, "groups", f.Values, query.State, found.Any, admin.GroupStates, found.States)}
	if query.State == admin.GroupStale && q.Viewer.Admin && len(found.Groups) > 0 {
		c.Choose = "/groups/remove"
	}
	t := &Table{Caption: h.say("groups.title"), Empty: h.say("groups.empty"), Next: nextPage(f.Values, n, found.Total),
		Columns: []Column{{Key: "displayName", Title: h.say("group.name")}, {Key: "members", Title: h.say("group.members"), Right: true}, {Key: "named", Title: h.say("groups.used")},
			{Key: "changed", Title: h.say("people.changed")}, {Key: "externalId", Data: true}, {Key: "id", Data: true}}}
	if c.Choose != "" {
		t.Columns = append([]Column{{Key: "choose", Title: h.say("people.choose")}}, t.Columns...)
	}
	for _, g := range found.Groups {
		row := []Cell{named(groupName(g.Group)).to("/groups/" + g.ID), number(g.Members), h.usedCell(g), at(g.Changed), text(g.ExternalID), text(g.ID)}
		if c.Choose != "" {
			row = append([]Cell{{Check: &Check{Form: "choose", Name: "id", Value: g.ID, Label: h.say("layout.choose", clip(groupName(g.Group)))}}}, row...)
		}
		t.Rows = append(t.Rows, row)
	}
	return q.show(page{Name: "groups", Content: c, Table: t})
}

func (h *Handler) usedCell(g admin.FoundGroup) Cell {
	switch {
	case g.Named:
		return Cell{Text: h.say("groups.state.named"), Mark: "yes"}
	case g.Stale:
		return Cell{Text: h.say("groups.state.stale"), Mark: "fault"}
	}
	return Cell{Text: h.say("groups.unused"), Mark: "quiet"}
}

// groupName returns what a group is called on pages.
func groupName(g admin.Group) string {
	if strings.TrimSpace(g.Name) == "" {
		return g.ID
	}
	return g.Name
}

// groupContent is what the page of a group shows.
type groupContent struct {
	admin.GroupFacts
	listContent

	UsesTable   *Table
	NestedTable *Table // nil if no group is in it
}

// group serves the page of one group. Its table is that of the members.
func (h *Handler) group(q *request) error {
	facts, err := h.groupFacts(q)
	if err != nil {
		return err
	}
	f := q.filter()
	n, from := listPage(f.Values)
	query := admin.UserQuery{Text: f.text("q"), Group: facts.ID, From: from, Limit: perPage}
	found, err := h.Admin.FindUsers(q.Context(), q.actor(), query)
	if err != nil {
		return err
	}
	c := groupContent{GroupFacts: facts, UsesTable: h.usesTable(facts), listContent: listContent{Search: query.Text, Total: found.Total, From: min(from+1, found.Total), To: from + len(found.Users), CutOff: isCutOff(n, found.Total),
		Tabs: h.detailTabs(q, "/groups/"+facts.ID, "group")}}
	if len(facts.Nested) > 0 {
		c.NestedTable = &Table{Caption: h.say("group.nested"), Columns: []Column{{Key: "group", Title: h.say("group.name")}, {Key: "members", Title: h.say("group.members"), Right: true}}}
		for _, g := range facts.Nested[:min(len(facts.Nested), perPage)] {
			c.NestedTable.Rows = append(c.NestedTable.Rows, []Cell{named(groupName(g)).to("/groups/" + g.ID), number(g.Members)})
		}
	}
	t := &Table{Caption: h.say("group.members"), Empty: h.say("group.no_members"), Next: nextPage(f.Values, n, found.Total),
		Columns: []Column{{Key: "displayName", Title: h.say("people.name")}, {Key: "userName", Title: h.say("people.username")}, {Key: "state", Title: h.say("people.state")}, {Key: "id", Data: true}}}
	for _, u := range found.Users {
		t.Rows = append(t.Rows, []Cell{named(nameOf(u.User)).to("/people/" + u.ID), named(u.UserName), h.userStateCell(u.User, u.Stale), text(u.ID)})
	}
	return q.show(page{Name: "group", Title: groupName(facts.Group), Content: c, Table: t})
}

// groupFacts returns what is known of the group that the path names. One that is not there is [console.ErrNoPage].
func (h *Handler) groupFacts(q *request) (admin.GroupFacts, error) {
	facts, err := h.Admin.GroupFacts(q.Context(), q.actor(), q.PathValue("id"))
	if err != nil {
		return facts, errors.Join(console.ErrNoPage, err)
	}
	return facts, nil
}

// usesTable lists the rules that name a group.
func (h *Handler) usesTable(f admin.GroupFacts) *Table {
	t := &Table{Caption: h.say("group.uses"), Empty: h.say("group.no_uses"), Columns: []Column{{Key: "route", Title: h.say("person.route")}, {Key: "effect", Title: h.say("group.effect")},
		{Key: "rule", Title: h.say("group.rule")}}}
	for _, u := range f.Uses[:min(len(f.Uses), maxListed)] {
		effect := Cell{Text: h.say("group.effect." + u.Effect)}
		switch {
		case u.Mode != "":
			effect.Text += " " + h.say("group.report")
		case u.Effect == "deny":
			effect.Mark = "no"
		case u.Effect == "allow":
			effect.Mark = "yes"
		}
		rule := u.Rule
		if u.Part != "" && u.Part != "groups" {
			rule += " " + u.Part
		}
		route := link(u.Route, "/routes/"+url.PathEscape(u.Route))
		if u.Route == "" {
			route = text(h.say("group.console"))
		}
		t.Rows = append(t.Rows, []Cell{route, effect, {Text: rule, Code: true}})
	}
	return t
}

// groupHistory serves the changes of a group, which may be deleted.
func (h *Handler) groupHistory(q *request) error {
	id := q.PathValue("id")
	c := historyContent{Name: id, Gone: true}
	if facts, err := h.Admin.GroupFacts(q.Context(), q.actor(), id); err == nil {
		id, c.Gone, c.Name = facts.ID, false, groupName(facts.Group)
	}
	c.Tabs = h.detailTabs(q, "/groups/"+id, "group")
	return h.showHistory(q, id, c)
}

// groupRecord serves the SCIM record of a group.
func (h *Handler) groupRecord(q *request) error {
	facts, err := h.groupFacts(q)
	if err != nil {
		return err
	}
	return h.showRecord(q, groupName(facts.Group), h.detailTabs(q, "/groups/"+facts.ID, "group"), facts.Document)
}

// removeGroup deletes a group, whose name was written again.
func (h *Handler) removeGroup(q *request) error {
	facts, err := h.groupFacts(q)
	if err != nil {
		return err
	}
	to := "/groups/" + facts.ID
	if !isNamed(q.PostForm.Get("name"), facts.Name) {
		return q.failed(http.StatusUnprocessableEntity, h.say("person.other_name", facts.Name), to)
	}
	return q.finish(h.Admin.RemoveGroup(q.Context(), q.actor(), facts.ID), "/groups", "group_removed", to)
}

// removeStaleGroups removes the groups that were chosen among those that the identity provider forgot.
func (h *Handler) removeStaleGroups(q *request) error {
	const back = "/groups?state=stale"
	removed, err := h.Admin.RemoveStaleGroups(q.Context(), q.actor(), q.PostForm["id"])
	if err != nil && removed > 0 {
		return q.failedPartly(h.say("people.removed_some", removed, err.Error()), back)
	}
	return q.finish(err, back, "group_removed", back)
}
