package scim

import (
	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

// resource reads one kind of resource.
type endpoint struct {
	resourceType *schema.ResourceType
	server       *Server
}

// list answers GET /Users and GET /Groups.
func (r endpoint) list(req *request) (any, error) {
	return r.server.find(req, []*schema.ResourceType{r.resourceType})
}

// listAll answers GET / : all kinds at once (RFC 7644 §3.4.2.1).
func (s *Server) listAll(req *request) (any, error) { return s.find(req, s.types.All()) }

// find answers a query with the resources of kinds that match it.
func (s *Server) find(req *request, kinds []*schema.ResourceType) (any, error) {
	q, err := s.query(req, kinds)
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
	answer := map[string]any{"schemas": []string{listURN}, "totalResults": page.total, "itemsPerPage": len(found), "Resources": found}
	if q.cursor == nil {
		answer["startIndex"] = q.start
		return answer, nil
	}
	next, err := s.nextCursor(req, q, page)
	if next != "" {
		answer["nextCursor"] = next
	}
	return answer, err
}

// gather looks at everything that may match.
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

// gatherIDs pages through all of a kind, reading no more than ids.
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
		if page.add(candidate{subquery: p, id: id}); page.full() {
			break
		}
	}
	page.total = before + total
	return nil
}

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
			page.add(candidate{p, u.ID, p.sortBy.SortKey(document)})
		}
	}
	return nil
}

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
			page.add(candidate{p, g.ID, p.sortBy.SortKey(document)})
		}
	}
	return nil
}

// render is a candidate as it goes over the wire.
func (q *query) render(tx *directory.Tx, c candidate) (any, error) {
	if c.subquery.resourceType == q.request.types.User {
		u, err := tx.User(c.id)
		if err != nil {
			return nil, err
		}
		return userResource(tx, q.request, &u, c.subquery.want)
	}
	g, err := tx.Group(c.id)
	if err != nil {
		return nil, err
	}
	return groupResource(tx, q.request, &g, c.subquery.want)
}
