package scim

import (
	"errors"
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

// query is a request for a list of resources (RFC 7644 §3.4.2, RFC 9865 §2).
type query struct {
	request    *request
	subqueries []subquery // one for each resource type
	start      int        // of the page; 1 is the first resource
	count      int
	descending bool
	cursor     *cursor // nil: the page is asked for by startIndex
	identity   string  // the parameters that must be the same for every page
	memory     *memory // what is read instead of the store; nil: nothing
}

// subquery is what a query means for one resource type.
type subquery struct {
	resourceType *schema.ResourceType
	index        int // among the subqueries
	filter       *schema.Filter
	sortBy       *schema.Path // nil: in the order of the ids
	want         schema.Selection
}

// query parses the parameters of a query for resources of some types.
func (s *Server) query(req *request, types []*schema.ResourceType) (*query, error) {
	values := req.URL.Query()
	q := &query{request: req, identity: stableParameters(req.URL.Path, values)}
	if err := q.parsePage(values); err != nil {
		return nil, err
	}
	switch order := values.Get("sortOrder"); {
	case strings.EqualFold(order, "descending"):
		q.descending = true
	case order != "" && !strings.EqualFold(order, "ascending"):
		return nil, invalid("invalidValue", "sortOrder is ascending or descending, not %.40q.", order)
	}
	for i, rt := range types {
		p := subquery{resourceType: rt, index: i}
		if err := p.parse(req, values, types); err != nil {
			return nil, err
		}
		q.subqueries = append(q.subqueries, p)
	}
	if values.Has("cursor") {
		return q, s.openCursor(req, q, values.Get("cursor"))
	}
	return q, nil
}

// stableParameters returns the parameters that must not change from page to page, as a text.
func stableParameters(path string, values url.Values) string {
	stable := url.Values{}
	for _, name := range parameters {
		if name != "cursor" && values.Has(name) {
			stable[name] = values[name]
		}
	}
	return path + "?" + stable.Encode()
}

// parsePage parses startIndex and count. Values out of range mean the nearest that is in range (RFC 7644 §3.4.2.4).
func (q *query) parsePage(values url.Values) (err error) {
	scimType := "invalidValue"
	if values.Has("cursor") {
		if scimType = "invalidCount"; values.Has("startIndex") {
			return invalid("invalidCursor", "A page is asked for by cursor or by startIndex, not by both.")
		}
	}
	if q.start, err = parseNumber(values.Get("startIndex"), 1, "startIndex", scimType); err != nil {
		return err
	}
	if q.count, err = parseNumber(values.Get("count"), defaultCount, "count", scimType); err != nil {
		return err
	}
	q.start, q.count = max(1, q.start), min(max(0, q.count), maxCount)
	return nil
}

// parseNumber parses the parameter of that name. If it is not there, its value is absent.
func parseNumber(text string, absent int, name, scimType string) (int, error) {
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
		return 0, invalid(scimType, "%s is a whole number, not %.40q.", name, text)
	}
	return min(n, math.MaxInt32), nil
}

// parse parses filter, sortBy, attributes and excludedAttributes. An attribute that only another of types has is
// unassigned in resources of this type.
func (p *subquery) parse(req *request, values url.Values, types []*schema.ResourceType) (err error) {
	if text := values.Get("filter"); text != "" {
		if p.filter, err = schema.ParseFilter(p.resourceType, types, text, &req.quirks); err != nil {
			return err
		}
	}
	if name := values.Get("sortBy"); name != "" {
		if p.sortBy, err = schema.ParseSortBy(p.resourceType, types, name, &req.quirks); err != nil {
			return err
		}
	}
	p.want, err = selection(p.resourceType, req)
	return err
}

// matches reports whether a resource matches the filter.
func (p *subquery) matches(s *schema.Subject) (bool, error) {
	if p.filter == nil {
		return true, nil
	}
	return p.filter.Matches(s)
}

// needs reports whether the filter or the order needs an attribute.
func (p *subquery) needs(name string) bool {
	return usesAttribute(p.filter, name) || p.sortBy != nil && p.sortBy.Attribute.Name == name
}

// userDocument returns as much of a user as the filter and the order need.
func (p *subquery) userDocument(tx *directory.Tx, req *request, u *directory.User) (map[string]any, error) {
	out, err := decodeDocument(u.Document)
	if err != nil {
		return nil, err
	}
	out["id"] = u.ID
	if p.needs("meta") || p.needs("schemas") {
		describe(out, p.resourceType, req, u.ID, u.Version, u.Created, u.Modified)
	}
	if p.needs("groups") {
		err = addGroups(tx, req, u.ID, out)
	}
	return out, err
}

// groupDocument returns as much of a group, but for its members, as the filter and the order need.
func (p *subquery) groupDocument(req *request, g *directory.Group) (map[string]any, error) {
	out, err := decodeDocument(g.Document)
	if err != nil {
		return nil, err
	}
	out["id"] = g.ID
	if p.needs("meta") || p.needs("schemas") {
		describe(out, p.resourceType, req, g.ID, g.Version, g.Created, g.Modified)
	}
	return out, nil
}
