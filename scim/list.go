package scim

import "sallyport/directory"

// resource reads one kind of resource.
type resource struct {
	kind   *kindOfResource
	server *Server
}

// list answers GET /Users and GET /Groups.
func (r resource) list(e *exchange) (any, error) { return r.server.find(e, []*kindOfResource{r.kind}) }

// listAll answers GET / : all kinds at once (RFC 7644 §3.4.2.1).
func (s *Server) listAll(e *exchange) (any, error) { return s.find(e, s.kinds.all()) }

// find answers a query with the resources of kinds that match it.
func (s *Server) find(e *exchange, kinds []*kindOfResource) (any, error) {
	q, err := s.query(e, kinds)
	if err != nil {
		return nil, err
	}
	var page *page
	found := []any{}
	err = s.directory.View(e.Context(), func(tx *directory.Tx) (err error) {
		if page, err = q.gather(tx); err != nil {
			return err
		}
		for _, c := range page.shown() {
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
	next, err := s.nextCursor(e, q, page)
	if next != "" {
		answer["nextCursor"] = next
	}
	return answer, err
}

// gather looks at everything that may match.
func (q *query) gather(tx *directory.Tx) (*page, error) {
	page := newPage(q)
	for i := range q.parts {
		p := &q.parts[i]
		var err error
		if p.filter == nil && p.by == nil {
			err = q.gatherIDs(tx, p, page)
		} else if p.kind.name == userKind.name {
			err = q.gatherUsers(tx, p, page)
		} else {
			err = q.gatherGroups(tx, p, page)
		}
		if err != nil {
			return nil, err
		}
	}
	return page, nil
}

// gatherIDs pages through all of a kind, reading no more than ids.
func (q *query) gatherIDs(tx *directory.Tx, p *part, page *page) error {
	count, ids := tx.UserCount, tx.UserIDs
	if p.kind.name == groupKind.name {
		count, ids = tx.GroupCount, tx.GroupIDs
	}
	total, err := count()
	if err != nil {
		return err
	}
	before := page.total
	for id, err := range ids(q.resumeAt(p)) {
		if err != nil {
			return err
		}
		if page.offer(candidate{part: p, id: id}); page.full() {
			break
		}
	}
	page.total = before + total
	return nil
}

func (q *query) gatherUsers(tx *directory.Tx, p *part, page *page) error {
	for u, err := range p.users(tx) {
		if err != nil {
			return err
		}
		document, err := p.userDocument(tx, q.exchange, &u)
		if err != nil {
			return err
		}
		ok, err := p.matches(&subject{document: document})
		if err != nil {
			return err
		}
		if ok {
			page.offer(candidate{p, u.ID, p.keyOf(document)})
		}
	}
	return nil
}

func (q *query) gatherGroups(tx *directory.Tx, p *part, page *page) error {
	for g, err := range p.groups(tx) {
		if err != nil {
			return err
		}
		document, err := p.groupDocument(q.exchange, &g)
		if err != nil {
			return err
		}
		ok, err := p.matches(&subject{document, func(id string) (bool, error) { return tx.IsMember(g.ID, id) }, memberDocuments(tx, q.exchange, g.ID)})
		if err != nil {
			return err
		}
		if ok {
			page.offer(candidate{p, g.ID, p.keyOf(document)})
		}
	}
	return nil
}

// render is a candidate as it goes over the wire.
func (q *query) render(tx *directory.Tx, c candidate) (any, error) {
	if c.part.kind.name == userKind.name {
		u, err := tx.User(c.id)
		if err != nil {
			return nil, err
		}
		return userResource(tx, q.exchange, &u, c.part.want)
	}
	g, err := tx.Group(c.id)
	if err != nil {
		return nil, err
	}
	return groupResource(tx, q.exchange, &g, c.part.want)
}
