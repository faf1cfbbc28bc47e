package scim

import (
	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

// endpoint serves the resources of one type.
type endpoint struct {
	resourceType *schema.ResourceType
	server       *Server
}

// list handles GET /Users and GET /Groups.
func (e endpoint) list(req *request) (any, error) {
	return e.server.find(req, []*schema.ResourceType{e.resourceType})
}

// listAll handles GET /, which searches all types of resources (RFC 7644 §3.4.2.1).
func (s *Server) listAll(req *request) (any, error) { return s.find(req, s.types.All()) }

// find returns one page of the resources of types that match the query of the request.
func (s *Server) find(req *request, types []*schema.ResourceType) (any, error) {
	q, err := s.query(req, types)
	if err != nil {
		return nil, err
	}
	var page *page
	found := []any{}
	err = s.directory.View(req.Context(), func(tx *directory.Tx) (err error) {
		if page, err = q.collect(tx); err != nil {
			return err
		}
		for _, c := range page.items() {
			out, err := q.render(tx, c)
			if err != nil {
				return err
			}
			found = append(found, out)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	body := map[string]any{"schemas": []string{listURN}, "totalResults": page.total, "itemsPerPage": len(found), "Resources": found}
	if q.cursor == nil {
		body["startIndex"] = q.start
		return body, nil
	}
	next, err := s.nextCursor(req, q, page)
	if next != "" {
		body["nextCursor"] = next
	}
	return body, err
}

// collect returns the page of the resources that match.
func (q *query) collect(tx *directory.Tx) (*page, error) {
	page := newPage(q)
	for i := range q.subqueries {
		p := &q.subqueries[i]
		var err error
		if p.filter == nil && p.sortBy == nil {
			err = q.collectIDs(tx, p, page)
		} else if p.resourceType == q.request.types.User {
			err = q.collectUsers(tx, p, page)
		} else {
			err = q.collectGroups(tx, p, page)
		}
		if err != nil {
			return nil, err
		}
	}
	return page, nil
}

// collectIDs collects all resources of a type, in the order of IDs, without reading them.
func (q *query) collectIDs(tx *directory.Tx, p *subquery, page *page) error {
	count, ids := tx.UserCount, tx.UserIDs
	if p.resourceType == q.request.types.Group {
		count, ids = tx.GroupCount, tx.GroupIDs
	}
	total, err := count()
	if err != nil {
		return err
	}
	before := page.total
	for id, err := range ids(q.resumeFrom(p)) {
		if err != nil {
			return err
		}
		if page.add(newCandidate(p, id, schema.SortKey{})); page.full() {
			break
		}
	}
	page.total = before + total
	return nil
}

// collectUsers collects the users that match.
func (q *query) collectUsers(tx *directory.Tx, p *subquery, page *page) error {
	for u, err := range p.users(tx) {
		if err != nil {
			return err
		}
		document, err := p.userDocument(tx, q.request, &u)
		if err != nil {
			return err
		}
		ok, err := p.matches(&schema.Subject{Document: document})
		if err != nil {
			return err
		}
		if ok {
			page.add(newCandidate(p, u.ID, p.sortBy.SortKey(document)))
		}
	}
	return nil
}

// collectGroups collects the groups that match.
func (q *query) collectGroups(tx *directory.Tx, p *subquery, page *page) error {
	for g, err := range p.groups(tx) {
		if err != nil {
			return err
		}
		document, err := p.groupDocument(q.request, &g)
		if err != nil {
			return err
		}
		ok, err := p.matches(&schema.Subject{Document: document, IsMember: func(id string) (bool, error) { return tx.IsMember(g.ID, id) },
			Members: memberDocuments(tx, q.request, g.ID)})
		if err != nil {
			return err
		}
		if ok {
			page.add(newCandidate(p, g.ID, p.sortBy.SortKey(document)))
		}
	}
	return nil
}

// render returns the resource of a candidate as the response has it.
func (q *query) render(tx *directory.Tx, c candidate) (any, error) {
	if c.subquery.resourceType == q.request.types.User {
		u, err := tx.User(c.ID)
		if err != nil {
			return nil, err
		}
		return userResource(tx, q.request, &u, c.subquery.want)
	}
	g, err := tx.Group(c.ID)
	if err != nil {
		return nil, err
	}
	return groupResource(tx, q.request, &g, c.subquery.want)
}
