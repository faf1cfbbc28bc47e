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
	found, page, err := s.results(req, q)
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

// results returns the resources on the page that a query asks for, rendered. Of a query that no index serves it reads memory, or
// if that is not equal to the store, the store.
func (s *Server) results(req *request, q *query) (found []any, page *page, err error) {
	if q.scans() {
		end, err := s.scans.begin(req.Context())
		if err != nil {
			return nil, nil, err
		}
		defer end()
		if q.memory = q.readMemory(req.Context()); q.memory != nil {
			if found, page, err = s.resultsIn(req, q); err == nil || req.Context().Err() != nil {
				return found, page, err
			}
			q.memory = nil
		}
	}
	return s.resultsIn(req, q)
}

// resultsIn is results within one transaction.
func (s *Server) resultsIn(req *request, q *query) (found []any, page *page, err error) {
	err = s.directory.View(req.Context(), func(tx *directory.Tx) (err error) {
		found = []any{}
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
	return found, page, err
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
	if lookups, ok := p.lookups(); ok {
		ids, err := userIDs(tx, lookups)
		if err != nil {
			return err
		}
		for _, id := range ids {
			u, err := tx.User(id)
			if err != nil {
				return err
			}
			if err := q.addUser(tx, p, page, &u); err != nil {
				return err
			}
		}
		return nil
	}
	if q.memory != nil {
		return q.collectCurrentUsers(p, page)
	}
	for u, err := range tx.Users("") {
		if err != nil {
			return err
		}
		if err := q.addUser(tx, p, page, &u); err != nil {
			return err
		}
	}
	return nil
}

// addUser adds a user who was read from the store, if they match.
func (q *query) addUser(tx *directory.Tx, p *subquery, page *page, u *directory.User) error {
	document, err := p.userDocument(tx, q.request, u)
	if err != nil {
		return err
	}
	return q.addMatch(p, page, u.ID, &schema.Subject{Document: document})
}

// addMatch adds a resource if it matches.
func (q *query) addMatch(p *subquery, page *page, id string, s *schema.Subject) error {
	ok, err := p.matches(s)
	if err == nil && ok {
		page.add(newCandidate(p, id, p.sortBy.SortKey(s)))
	}
	return err
}

// collectGroups collects the groups that match.
func (q *query) collectGroups(tx *directory.Tx, p *subquery, page *page) error {
	if lookups, ok := p.lookups(); ok {
		groups, err := groupsBy(tx, lookups)
		if err != nil {
			return err
		}
		for i := range groups {
			if err := q.addGroup(tx, p, page, &groups[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if q.memory != nil {
		return q.collectCurrentGroups(tx, p, page)
	}
	for g, err := range tx.Groups("") {
		if err != nil {
			return err
		}
		if err := q.addGroup(tx, p, page, &g); err != nil {
			return err
		}
	}
	return nil
}

// addGroup adds a group that was read from the store, if it matches.
func (q *query) addGroup(tx *directory.Tx, p *subquery, page *page, g *directory.Group) error {
	document, err := p.groupDocument(q.request, g)
	if err != nil {
		return err
	}
	subject := q.subjectOfGroup(tx, g.ID)
	subject.Document = document
	return q.addMatch(p, page, g.ID, subject)
}

// subjectOfGroup returns the subject of a group, with its members alone.
func (q *query) subjectOfGroup(tx *directory.Tx, id string) *schema.Subject {
	return &schema.Subject{IsMember: func(member string) (bool, error) { return tx.IsMember(id, member) }, Members: memberDocuments(tx, q.request, id)}
}

// render returns the resource of a candidate as the response has it.
func (q *query) render(tx *directory.Tx, c candidate) (any, error) {
	if c.user != nil {
		return currentUserResource(q.request, c.user, c.subquery.want)
	}
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
