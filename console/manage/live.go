package manage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"sallyport/admin"
	"sallyport/live"
)

// liveContent is the page of live requests.
type liveContent struct {
	Filter      url.Values
	Wrong       []string
	Kinds       []choice
	Sorts       []choice
	Routes      []choice
	List        live.List
	Whose       string // the userName of the only user whose requests are shown; "" for no such user
	Person      string // the path of that user's page; "" for an application
	NoServer    bool
	Unreachable int // how many rows no page of the list shows
}

// liveFilter returns what a query asks for.
func (q *request) liveFilter() (*filter, live.Filter) {
	f := q.filter()
	return f, live.Filter{User: f.text("user"), Name: f.text("person"), Route: f.text("route"), Kind: live.Kind(f.oneOf("kind", textsOf(live.Kinds()))),
		Sort: live.Sort(f.oneOf("sort", textsOf(live.Sorts()))), Skip: (pageNumber(q.URL.Query()) - 1) * perPage, Limit: perPage}
}

// textsOf returns words as texts.
func textsOf[W ~string](words []W) []string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return texts
}

// live serves the page of live requests.
func (h *Handler) live(q *request) error {
	f, wanted := q.liveFilter()
	list, err := h.Admin.Live(q.Context(), q.actor(), wanted)
	if err != nil {
		return err
	}
	p := h.livePage(f, wanted, list, q.Admin)
	content := p.Content.(liveContent) //nolint:errcheck,forcetypeassert // it has one
	content.Kinds, content.Sorts = h.choices("live.kind.", string(wanted.Kind), textsOf(live.Kinds())), h.choices("live.sort.", string(wanted.Sort), textsOf(live.Sorts()))
	routes, err := h.Admin.RouteNames(q.Context(), q.actor())
	if err != nil {
		return err
	}
	content.Routes = h.choices("", wanted.Route, routes)
	p.Content = content
	return q.show(p)
}

// livePage returns the page of a list of live requests, without what it is filtered by.
func (h *Handler) livePage(f *filter, wanted live.Filter, list live.List, admin bool) page {
	content := liveContent{Filter: f.Values, Wrong: f.wrong, List: list, Unreachable: max(0, list.Matching-live.MaxLimit)}
	if wanted.User != "" {
		content.Whose = wanted.User
		if !strings.HasPrefix(wanted.User, "app:") {
			content.Person = "/people/" + url.PathEscape(wanted.User)
		}
		if len(list.Requests) > 0 {
			content.Whose = list.Requests[0].UserName
		}
	}
	return page{Name: "live", Content: content, Table: h.liveTable(f.Values, list, admin)}
}

func (h *Handler) liveTable(query url.Values, list live.List, admin bool) *Table {
	t := &Table{Caption: h.say("live.caption"), Empty: h.say("live.empty"), Columns: []Column{
		{Key: "user", Title: h.say("live.column.user")}, {Key: "route", Title: h.say("live.column.route")}, {Key: "asked", Title: h.say("live.column.asked")},
		{Key: "kind", Title: h.say("live.column.kind")}, {Key: "since", Title: h.say("live.column.since")}, {Key: "received", Title: h.say("live.column.received"), Right: true},
		{Key: "sent", Title: h.say("live.column.sent"), Right: true}, {Key: "rule", Title: h.say("live.column.rule")}, {Key: "address", Title: h.say("live.column.address")},
		{Key: "request", Data: true}, {Key: "host", Data: true}, {Key: "session", Data: true}}}
	several := false
	for _, r := range list.Requests {
		several = several || r.Replica != ""
	}
	if several {
		t.Columns = append(t.Columns, Column{Key: "replica", Title: h.say("live.column.replica")})
	}
	if admin {
		t.Columns = append(t.Columns, Column{Key: "end", Title: h.say("live.column.end")})
	}
	for _, r := range list.Requests {
		row := []Cell{whoCell(h, r.User, r.UserName, "/live", "user"), text(r.Route), {Text: r.Method + " " + r.Path, Mark: "long", Link: Path + "/decisions/" + r.ID}, {Text: h.say("live.kind." + string(r.Kind)), Raw: string(r.Kind), Mark: "whole"},
			{Time: r.Since, Ago: true}, byteCell(r.Received), byteCell(r.Sent), text(r.Rule), text(r.Address), text(r.ID), text(r.Host), text(r.Session)}
		if several {
			row = append(row, text(r.Replica))
		}
		if admin {
			row = append(row, Cell{Button: &Button{Form: "end", Name: "request", Value: r.ID, Text: h.say("live.end"), Label: h.say("live.end.label", r.UserName, r.Route)}})
		}
		t.Rows, t.Keys = append(t.Rows, row), append(t.Keys, "r"+r.ID)
	}
	if skip := (pageNumber(query) - 1) * perPage; skip+len(list.Requests) < min(list.Matching, live.MaxLimit) && len(list.Requests) > 0 {
		t.Next = queryOfNext(query)
	}
	return t
}

// whoCell returns the cell of a user or an application, which leads to what a page has of them by a parameter.
func whoCell(h *Handler, id, name, below, parameter string) Cell {
	switch {
	case id != "":
		return who(orID(name, id), below+"?"+parameter+"="+url.QueryEscape(id))
	case name != "":
		return who(name, below+"?"+parameter+"="+url.QueryEscape(name))
	}
	return Cell{Text: h.say("live.anyone"), Raw: "-", Mark: "quiet"}
}

func orID(name, id string) string {
	if name == "" {
		return id
	}
	return name
}

// byteCell returns a number of bytes, which pages show in larger units.
func byteCell(n int64) Cell {
	c := number(n)
	c.Shows = bytesText(n)
	return c
}

// bytesText returns a number of bytes as pages show it.
func bytesText(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	size := float64(n)
	for _, unit := range []string{"kB", "MB", "GB", "TB"} {
		if size /= 1000; size < 999.5 || unit == "TB" {
			if size < 10 {
				return fmt.Sprintf("%.1f %s", size, unit)
			}
			return fmt.Sprintf("%.0f %s", size, unit)
		}
	}
	return ""
}

// liveEvents keeps a page of live requests up to date: it sends the list again and again.
func (h *Handler) liveEvents(q *request) error {
	f, wanted := q.liveFilter()
	watch, err := h.Admin.WatchLive(q.actor(), wanted)
	if errors.Is(err, admin.ErrLongFilter) {
		return q.failed(http.StatusUnprocessableEntity, err.Error(), "/live")
	} else if err != nil {
		return err
	}
	defer watch.Close()
	f.keep("user", "person", "route", "kind", "sort", "page")
	return q.refresh(q.shared("live", f.Encode()), admin.LiveEvery, func(ctx context.Context) ([]frame, error) {
		list, ok, err := watch.List(ctx)
		if err != nil || !ok {
			return nil, err
		}
		var part bytes.Buffer
		if err := h.renderPart(&part, view{page: h.livePage(f, wanted, list, q.Admin), Viewer: Viewer{Admin: q.Admin}}, "list"); err != nil {
			return nil, err
		}
		sent, err := newFrame("list", "list", part.String())
		return []frame{sent}, err
	})
}

// endLive ends one live request.
func (h *Handler) endLive(q *request) error {
	id := q.PostForm.Get("request")
	err := h.Admin.EndLive(q.Context(), q.actor(), id)
	return q.finish(err, q.backTo("/live"), "live_ended", q.backTo("/live"))
}

// endUserLive ends all live requests of one user or application.
func (h *Handler) endUserLive(q *request) error {
	user := q.PostForm.Get("user")
	if user == "" {
		return q.failed(http.StatusUnprocessableEntity, h.say("live.whose"), "/live")
	}
	_, err := h.Admin.EndUserLive(q.Context(), q.actor(), user)
	return q.finish(err, "/live?user="+url.QueryEscape(user), "live_ended_all", "/live?user="+url.QueryEscape(user))
}

// backTo returns the page that a form was sent from, with its query, which the form has as back.
func (q *request) backTo(page string) string {
	query, err := url.ParseQuery(strings.TrimPrefix(q.PostForm.Get("back"), "?"))
	if err != nil || len(query) == 0 {
		return page
	}
	return page + "?" + query.Encode()
}
