package scim

import (
	"errors"
	"iter"
	"math"
	"net/http"
	"strconv"

	"sallyport/directory"
)

// Bounds of one page.
const (
	defaultCount = 100
	maxCount     = 1000
)

// resource reads one kind of resource.
type resource struct {
	kind   *kindOfResource
	server *Server
}

// query is what a list is asked for.
type query struct {
	filter     *filter
	start      int // 1 is the first
	count      int
	want       selection
	kind       *kindOfResource
	exchange   *exchange
	found      []any // the page
	total, pos int
}

func (r resource) list(e *exchange) (any, error) {
	q, err := r.query(e)
	if err != nil {
		return nil, err
	}
	err = r.server.directory.View(e.Context(), func(tx *directory.Tx) error {
		q.found, q.total, q.pos = []any{}, 0, 0
		if r.kind == &userKind {
			return q.users(tx)
		}
		return q.groups(tx)
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"schemas": []string{listURN}, "totalResults": q.total, "startIndex": q.start,
		"itemsPerPage": len(q.found), "Resources": q.found}, nil
}

func (r resource) query(e *exchange) (*query, error) {
	q := &query{kind: r.kind, exchange: e}
	values := e.URL.Query()
	var err error
	if q.start, err = number(values.Get("startIndex"), 1, "startIndex"); err != nil {
		return nil, err
	}
	if q.count, err = number(values.Get("count"), defaultCount, "count"); err != nil {
		return nil, err
	}
	q.start, q.count = max(1, q.start), min(max(0, q.count), maxCount)
	if text := values.Get("filter"); text != "" {
		if q.filter, err = parseFilter(r.kind, text, &e.notes); err != nil {
			return nil, err
		}
	}
	q.want, err = selected(r.kind, e)
	return q, err
}

func number(text string, absent int, name string) (int, error) {
	if text == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(text)
	if errors.Is(err, strconv.ErrRange) {
		if text[0] == '-' {
			return 0, nil
		}
		return math.MaxInt32, nil
	}
	if err != nil {
		return 0, invalid("invalidValue", "%s is a whole number, not %.40q.", name, text)
	}
	return n, nil
}

// take counts one match and says whether it is on the page.
func (q *query) take() bool {
	q.total++
	q.pos++
	return q.pos >= q.start && len(q.found) < q.count
}

func (q *query) users(tx *directory.Tx) error {
	var users iter.Seq2[directory.User, error]
	switch attribute, value := q.indexed(); attribute {
	case "":
		users = tx.Users("")
	case "id":
		users = one(tx.User(value))
	case "userName":
		users = one(tx.UserByName(value))
	default:
		list, err := tx.UsersByExternalID(value)
		users = several(list, err)
	}
	all := selection{}
	if q.filter == nil || !mentions(q.filter, "groups") {
		all.without = []string{"groups"}
	}
	for u, err := range users {
		if err != nil {
			return err
		}
		ok, err := q.matchesUser(tx, &u, all)
		if err != nil {
			return err
		}
		if !ok || !q.take() {
			continue
		}
		out, err := userResource(tx, q.exchange, &u, q.want)
		if err != nil {
			return err
		}
		q.found = append(q.found, out)
	}
	return nil
}

func (q *query) matchesUser(tx *directory.Tx, u *directory.User, all selection) (bool, error) {
	if q.filter == nil {
		return true, nil
	}
	whole, err := userResource(tx, q.exchange, u, all)
	if err != nil {
		return false, err
	}
	return (&subject{document: whole}).matches(q.filter)
}

func (q *query) groups(tx *directory.Tx) error {
	var groups iter.Seq2[directory.Group, error]
	switch attribute, value := q.indexed(); attribute {
	case "":
		groups = tx.Groups("")
	case "id":
		groups = one(tx.Group(value))
	case "displayName":
		groups = one(tx.GroupByName(value))
	default:
		groups = one(tx.GroupByExternalID(value))
	}
	for g, err := range groups {
		if err != nil {
			return err
		}
		ok, err := q.matchesGroup(tx, &g)
		if err != nil {
			return err
		}
		if !ok || !q.take() {
			continue
		}
		out, err := groupResource(tx, q.exchange, &g, q.want)
		if err != nil {
			return err
		}
		q.found = append(q.found, out)
	}
	return nil
}

func (q *query) matchesGroup(tx *directory.Tx, g *directory.Group) (bool, error) {
	if q.filter == nil {
		return true, nil
	}
	whole, err := groupResource(tx, q.exchange, g, selection{without: []string{"members"}})
	if err != nil {
		return false, err
	}
	s := &subject{document: whole, isMember: func(id string) (bool, error) { return tx.IsMember(g.ID, id) }}
	return s.matches(q.filter)
}

// indexed is an equality that every match must have and that an index answers.
func (q *query) indexed() (attribute, value string) {
	if q.filter == nil {
		return "", ""
	}
	return indexedIn(q.filter, q.kind)
}

func indexedIn(f *filter, kind *kindOfResource) (attribute, value string) {
	if f.op == "and" {
		if attribute, value = indexedIn(f.left, kind); attribute != "" {
			return attribute, value
		}
		return indexedIn(f.right, kind)
	}
	text, ok := f.value.(string)
	if f.op != "eq" || !ok || f.target.extension != "" {
		return "", ""
	}
	switch name := f.target.attribute.name; name {
	case "id", "externalId":
		return name, text
	case "userName", "displayName":
		if f.target.attribute.unique {
			return name, text
		}
	}
	return "", ""
}

// mentions says whether a filter looks at an attribute.
func mentions(f *filter, name string) bool {
	return f != nil && (f.target != nil && f.target.attribute.name == name || mentions(f.left, name) || f.op != "[]" && mentions(f.right, name))
}

// one is a list of the thing found, or of none.
func one[T any](thing T, err error) iter.Seq2[T, error] {
	if errors.Is(err, directory.ErrNotFound) {
		return several[T](nil, nil)
	}
	return several([]T{thing}, err)
}

func several[T any](things []T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		for _, t := range things {
			if !yield(t, nil) {
				return
			}
		}
	}
}

// show answers one resource by id.
func (r resource) show(e *exchange) (out any, err error) {
	want, err := selected(r.kind, e)
	if err != nil {
		return nil, err
	}
	id := e.PathValue("id")
	var version uint64
	err = r.server.directory.View(e.Context(), func(tx *directory.Tx) error {
		if r.kind == &userKind {
			u, err := tx.User(id)
			if err != nil {
				return notFound(err, id)
			}
			version = u.Version
			out, err = userResource(tx, e, &u, want)
			return err
		}
		g, err := tx.Group(id)
		if err != nil {
			return notFound(err, id)
		}
		version = g.Version
		out, err = groupResource(tx, e, &g, want)
		return err
	})
	if err != nil {
		return nil, err
	}
	e.etag, e.location = etag(version), e.base+"/"+r.kind.endpoint+"/"+id
	if e.Header.Get("If-None-Match") == e.etag {
		e.status = http.StatusNotModified
		return nil, nil
	}
	return out, nil
}
