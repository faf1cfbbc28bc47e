package manage

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"sallyport/admin"
	"sallyport/console"
)

// heldContent is the page of held deactivations.
type heldContent struct {
	Tabs              []tab
	Waiting, Rejected int
	Newest            string // when the newest was asked for of those that waited when the page was made
}

// heldPerPage is how many held deactivations a page shows: what each person would lose is computed.
const heldPerPage = 50

// held serves the list of held deactivations.
func (h *Handler) held(q *request) error {
	tabs, err := q.provisioningTabs("held")
	if err != nil {
		return err
	}
	n := pageNumber(q.URL.Query())
	found, err := h.Admin.HeldPeople(q.Context(), q.actor(), (n-1)*heldPerPage, heldPerPage)
	if err != nil {
		return err
	}
	newest, err := h.Admin.NewestHold(q.Context(), q.actor())
	if err != nil {
		return err
	}
	t := h.table("held", "person", "state", "since", "routes", "groups", "sessions", "grants")
	t.right("sessions", "grants")
	if q.Admin {
		t.Columns = append([]Column{{Key: "id", Title: h.say("held.column.choose")}}, t.Columns...)
	}
	t.Empty = h.say("held.empty")
	for _, p := range found.People {
		t.Rows = append(t.Rows, h.heldRow(q, p))
	}
	if n*heldPerPage < found.Waiting+found.Rejected {
		t.Next = withQuery(q.URL.Query(), "page", fmt.Sprint(n+1))
	}
	content := heldContent{Tabs: tabs, Waiting: found.Waiting, Rejected: found.Rejected, Newest: newest.Format(time.RFC3339Nano)}
	return q.show(page{Name: "held", Content: content, Table: t})
}

func (h *Handler) heldRow(q *request, p admin.HeldPerson) (row []Cell) {
	name := p.Name
	if name == "" {
		name = p.UserName
	}
	if q.Admin {
		row = append(row, Cell{Check: &Check{Form: "decide", Name: "user", Value: p.ID, Label: h.say("layout.choose", name)}})
	}
	state := Cell{Text: h.say("held.waiting"), Mark: "fault"}
	switch {
	case p.Own:
		state.Text = h.say("held.own")
	case p.Rejected != nil:
		state = Cell{Text: h.say("held.rejected"), Mark: "quiet"}
	}
	lost := text(namesAnd(h, p.Routes, p.RouteCount))
	if p.Barred != "" {
		lost = Cell{Text: h.say("held.barred." + p.Barred), Mark: "quiet"}
	}
	return append(row, link(name, "/people/"+p.ID), state, at(p.Since), lost, text(namesAnd(h, p.Groups, p.GroupCount)), number(p.Sessions), number(p.Grants))
}

// namesAnd returns some names of several, and how many more there are.
func namesAnd(h *Handler, names []string, count int) string {
	const shown = 6
	if len(names) > shown {
		names = names[:shown]
	}
	list := strings.Join(names, ", ")
	if more := count - len(names); more > 0 {
		list += h.say("layout.more", more)
	}
	return list
}

// decideHeld releases or rejects held deactivations: those that were chosen, or all that waited when the page was made.
func (h *Handler) decideHeld(q *request) error {
	const back = "/provisioning/held"
	users := q.PostForm["user"]
	if q.PostForm.Get("which") == "all" {
		newest, err := time.Parse(time.RFC3339Nano, q.PostForm.Get("newest"))
		if err != nil {
			return console.ErrForm
		}
		if users, err = h.Admin.HeldUntil(q.Context(), q.actor(), newest); err != nil {
			return err
		}
	}
	if len(users) == 0 {
		return q.failed(http.StatusUnprocessableEntity, h.say("held.none_chosen"), back)
	}
	var err error
	var text string
	switch q.PathValue("decision") {
	case "release":
		_, err = h.Admin.Release(q.Context(), q.actor(), users)
		text = "released"
	case "reject":
		_, err = h.Admin.Reject(q.Context(), q.actor(), users)
		text = "rejected"
	default:
		return console.ErrNoPage
	}
	return q.finish(err, back, text, back)
}
