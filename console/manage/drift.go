package manage

import (
	"net/url"
	"strings"

	"sallyport/admin"
)

// driftContent is the page of what was not pushed.
type driftContent struct {
	Tabs  []tab
	Drift admin.Drift

	TokenGroups, People *Table // nil if no server runs
}

// drift serves what rules and tokens name and nobody pushed.
func (h *Handler) drift(q *request) error {
	tabs, err := q.provisioningTabs("drift")
	if err != nil {
		return err
	}
	d, err := h.Admin.Drift(q.Context(), q.actor())
	if err != nil {
		return err
	}
	t := h.table("drift", "value", "name", "claim", "attribute", "count", "last", "lines")
	t.right("count")
	t.Empty = h.say("drift.no_strangers")
	for _, s := range d.Strangers {
		name := s.Name
		if name == s.Value {
			name = ""
		}
		t.Rows = append(t.Rows, []Cell{text(s.Value), text(name), {Text: s.Claim, Code: s.Claim != ""}, {Text: s.Attribute, Code: s.Attribute != ""}, number(s.Count), at(s.Last),
			link(h.say("drift.see"), "/record?text="+url.QueryEscape(s.Value))})
	}
	content := driftContent{Tabs: tabs, Drift: d}
	if d.Tokens != nil {
		content.TokenGroups, content.People = h.tokenGroupsTable(d.Tokens), h.driftPeopleTable(d.Tokens)
	}
	return q.show(page{Name: "drift", Content: content, Table: t})
}

// tokenGroupsTable lists groups that tokens name and that were not pushed.
func (h *Handler) tokenGroupsTable(d *admin.TokenDrift) *Table {
	t := h.table("drift", "group", "users")
	t.right("users")
	t.Caption, t.Empty = h.say("drift.token_groups"), h.say("drift.no_token_groups")
	for _, g := range d.Groups {
		name := named(g.Name)
		name.Code = true
		t.Rows = append(t.Rows, []Cell{name, number(g.Users)})
	}
	return t
}

// driftPeopleTable lists the differences of people, one a row. Each group leads to its page.
func (h *Handler) driftPeopleTable(d *admin.TokenDrift) *Table {
	t := h.table("drift", "person", "difference", "group", "token")
	t.Caption, t.Empty = h.say("drift.people"), h.say("drift.no_people")
	for _, p := range d.People {
		for _, side := range []struct {
			text string
			list admin.GroupList
		}{{h.say("drift.not_pushed"), p.Unpushed}, {h.say("drift.not_named"), p.Unnamed}} {
			for _, g := range side.list.Groups {
				t.Rows = append(t.Rows, []Cell{named(p.UserName).to("/people/" + p.ID), text(side.text), named(g.Name).to("/groups/" + g.ID), at(p.At)})
			}
			if more := side.list.Total - len(side.list.Groups); more > 0 {
				t.Rows = append(t.Rows, []Cell{named(p.UserName).to("/people/" + p.ID), text(side.text), text(h.say("drift.more_groups", more)), at(p.At)})
			}
		}
	}
	return t
}

// JoinPolicies writes the names of policies.
func (c driftContent) JoinPolicies(names []string) string { return strings.Join(names, ", ") }
