package scim

import (
	"errors"
	"iter"
	"math"
	"net/url"
	"strconv"
	"strings"

	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

// Bounds of one page.
const (
	defaultCount = 100
	maxCount     = 1000
)

// query is what is asked for (RFC 7644 §3.4.2, RFC 9865 §2).
type query struct {
	request    *request
	subqueries []subquery // one for each kind of resource
	start      int        // 1 is the first
	count      int
	descending bool
	cursor     *position // where to go on; nil where pages are counted
	text       string    // all that must stay the same from page to page
}

// part is a query as one kind of resource understands it.
type subquery struct {
	kind   *schema.ResourceType
	index  int // among the parts
	filter *schema.Filter
	sortBy *schema.Path // sortBy; nil: in the order of ids
	want   schema.Selection
}

func (s *Server) query(req *request, kinds []*schema.ResourceType) (*query, error) {
	values := req.URL.Query()
	q := &query{request: req, text: stableParameters(req.URL.Path, values)}
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
		p := subquery{kind: kind, index: i}
		if err := p.read(req, values, kinds); err != nil {
			return nil, err
		}
		q.subqueries = append(q.subqueries, p)
	}
	if values.Has("cursor") {
		return q, s.openCursor(req, q, values.Get("cursor"))
	}
	return q, nil
}

// fixed is the parameters that must not change between pages.
func stableParameters(path string, values url.Values) string {
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
func (p *subquery) read(req *request, values url.Values, kinds []*schema.ResourceType) (err error) {
	if text := values.Get("filter"); text != "" {
		if p.filter, err = schema.ParseFilter(p.kind, kinds, text, &req.quirks); err != nil {
			return err
		}
	}
	if name := values.Get("sortBy"); name != "" {
		if p.sortBy, err = schema.ParseSortBy(p.kind, kinds, name, &req.quirks); err != nil {
			return err
		}
	}
	p.want, err = selected(p.kind, req)
	return err
}

// users are those that may match.
func (p *subquery) users(tx *directory.Tx) iter.Seq2[directory.User, error] {
	switch attribute, value := p.indexed(); attribute {
	case "id":
		return optional(tx.User(value))
	case "userName":
		return optional(tx.UserByName(value))
	case "externalId":
		list, err := tx.UsersByExternalID(value)
		return sequence(list, err)
	case "emails":
		list, err := tx.UsersByEmail(value)
		return sequence(list, err)
	case "displayName":
		list, err := tx.UsersByDisplayName(value)
		return sequence(list, err)
	}
	return tx.Users("")
}

// groups are those that may match.
func (p *subquery) groups(tx *directory.Tx) iter.Seq2[directory.Group, error] {
	switch attribute, value := p.indexed(); attribute {
	case "id":
		return optional(tx.Group(value))
	case "displayName":
		return optional(tx.GroupByName(value))
	case "externalId":
		return optional(tx.GroupByExternalID(value))
	}
	return tx.Groups("")
}

func (p *subquery) matches(s *schema.Subject) (bool, error) {
	if p.filter == nil {
		return true, nil
	}
	return p.filter.Matches(s)
}

// looksAt says whether the filter or the order needs an attribute.
func (p *subquery) needs(name string) bool {
	return usesAttribute(p.filter, name) || p.sortBy != nil && p.sortBy.Attribute.Name == name
}

// userDocument is as much of a user as the query looks at.
func (p *subquery) userDocument(tx *directory.Tx, req *request, u *directory.User) (map[string]any, error) {
	out, err := decodeDocument(u.Document)
	if err != nil {
		return nil, err
	}
	out["id"] = u.ID
	if p.needs("meta") || p.needs("schemas") {
		describe(out, p.kind, req, u.ID, u.Version, u.Created, u.Modified)
	}
	if p.needs("groups") {
		err = addGroups(tx, req, u.ID, out)
	}
	return out, err
}

// groupDocument is as much of a group as the query looks at.
func (p *subquery) groupDocument(req *request, g *directory.Group) (map[string]any, error) {
	out, err := decodeDocument(g.Document)
	if err != nil {
		return nil, err
	}
	out["id"] = g.ID
	if p.needs("meta") || p.needs("schemas") {
		describe(out, p.kind, req, g.ID, g.Version, g.Created, g.Modified)
	}
	return out, nil
}
