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
	return q.show(page{Name: "drift", Content: driftContent{tabs, d}, Table: t})
}

// JoinPolicies writes the names of policies.
func (c driftContent) JoinPolicies(names []string) string { return strings.Join(names, ", ") }
