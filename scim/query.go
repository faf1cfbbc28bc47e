package scim

import (
	"errors"
	"iter"
	"math"
	"net/url"
	"strconv"
	"strings"

	"sallyport/directory"
)

// Bounds of one page.
const (
	defaultCount = 100
	maxCount     = 1000
)

// query is what is asked for (RFC 7644 §3.4.2, RFC 9865 §2).
type query struct {
	exchange   *exchange
	parts      []part // one for each kind of resource
	start      int    // 1 is the first
	count      int
	descending bool
	cursor     *position // where to go on; nil where pages are counted
	text       string    // all that must stay the same from page to page
}

// part is a query as one kind of resource understands it.
type part struct {
	kind   *kindOfResource
	place  int // among the parts
	filter *filter
	by     *target // sortBy; nil: in the order of ids
	want   selection
}

func (s *Server) query(e *exchange, kinds []*kindOfResource) (*query, error) {
	values := e.URL.Query()
	q := &query{exchange: e, text: fixed(e.URL.Path, values)}
	if err := q.readPage(values); err != nil {
		return nil, err
	}
	switch order := values.Get("sortOrder"); {
	case strings.EqualFold(order, "descending"):
		q.descending = true
	case order != "" && !strings.EqualFold(order, "ascending"):
		return nil, invalid("invalidValue", "sortOrder is ascending or descending, not %.40q.", order)
	}
	for i, kind := range kinds {
		p := part{kind: kind, place: i}
		if err := p.read(e, values, kinds); err != nil {
			return nil, err
		}
		q.parts = append(q.parts, p)
	}
	if values.Has("cursor") {
		return q, s.openCursor(e, q, values.Get("cursor"))
	}
	return q, nil
}

// fixed is the parameters that must not change between pages.
func fixed(path string, values url.Values) string {
	kept := url.Values{}
	for _, name := range parameters {
		if name != "cursor" && values.Has(name) {
			kept[name] = values[name]
		}
	}
	return path + "?" + kept.Encode()
}

func (q *query) readPage(values url.Values) (err error) {
	fault := "invalidValue"
	if values.Has("cursor") {
		if fault = "invalidCount"; values.Has("startIndex") {
			return invalid("invalidCursor", "A page is asked for by cursor or by startIndex, not by both.")
		}
	}
	if q.start, err = number(values.Get("startIndex"), 1, "startIndex", fault); err != nil {
		return err
	}
	if q.count, err = number(values.Get("count"), defaultCount, "count", fault); err != nil {
		return err
	}
	q.start, q.count = max(1, q.start), min(max(0, q.count), maxCount)
	return nil
}

func number(text string, absent int, name, fault string) (int, error) {
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
		return 0, invalid(fault, "%s is a whole number, not %.40q.", name, text)
	}
	return min(n, math.MaxInt32), nil
}

// read understands filter, sortBy and attributes. What only another of kinds has
// is unassigned here.
func (p *part) read(e *exchange, values url.Values, kinds []*kindOfResource) (err error) {
	if text := values.Get("filter"); text != "" {
		if p.filter, err = parseFilterAmong(p.kind, kinds, text, &e.notes); err != nil {
			return err
		}
	}
	if name := values.Get("sortBy"); name != "" {
		if p.by, err = parseSortBy(p.kind, kinds, name, &e.notes); err != nil {
			return err
		}
	}
	p.want, err = selected(p.kind, e)
	return err
}

// users are those that may match.
func (p *part) users(tx *directory.Tx) iter.Seq2[directory.User, error] {
	switch attribute, value := p.indexed(); attribute {
	case "id":
		return one(tx.User(value))
	case "userName":
		return one(tx.UserByName(value))
	case "externalId":
		list, err := tx.UsersByExternalID(value)
		return several(list, err)
	case "emails":
		list, err := tx.UsersByEmail(value)
		return several(list, err)
	case "displayName":
		list, err := tx.UsersByDisplayName(value)
		return several(list, err)
	}
	return tx.Users("")
}

// groups are those that may match.
func (p *part) groups(tx *directory.Tx) iter.Seq2[directory.Group, error] {
	switch attribute, value := p.indexed(); attribute {
	case "id":
		return one(tx.Group(value))
	case "displayName":
		return one(tx.GroupByName(value))
	case "externalId":
		return one(tx.GroupByExternalID(value))
	}
	return tx.Groups("")
}

func (p *part) matches(s *subject) (bool, error) {
	if p.filter == nil {
		return true, nil
	}
	return s.matches(p.filter)
}

// looksAt says whether the filter or the order needs an attribute.
func (p *part) looksAt(name string) bool {
	return mentions(p.filter, name) || p.by != nil && p.by.attribute.name == name
}

// userDocument is as much of a user as the query looks at.
func (p *part) userDocument(tx *directory.Tx, e *exchange, u *directory.User) (map[string]any, error) {
	out, err := documentOf(u.Document)
	if err != nil {
		return nil, err
	}
	out["id"] = u.ID
	if p.looksAt("meta") || p.looksAt("schemas") {
		describe(out, p.kind, e, u.ID, u.Version, u.Created, u.Modified)
	}
	if p.looksAt("groups") {
		err = addGroups(tx, e, u.ID, out)
	}
	return out, err
}

// groupDocument is as much of a group as the query looks at.
func (p *part) groupDocument(e *exchange, g *directory.Group) (map[string]any, error) {
	out, err := documentOf(g.Document)
	if err != nil {
		return nil, err
	}
	out["id"] = g.ID
	if p.looksAt("meta") || p.looksAt("schemas") {
		describe(out, p.kind, e, g.ID, g.Version, g.Created, g.Modified)
	}
	return out, nil
}
