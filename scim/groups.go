package scim

import (
	"net/http"

	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

// createGroup handles POST /Groups (RFC 7644 §3.3).
func (s *Server) createGroup(req *request) (any, error) {
	document, members, err := s.groupBody(req)
	if err != nil {
		return nil, err
	}
	want, err := selection(s.types.Group, req)
	if err != nil {
		return nil, err
	}
	var g directory.Group
	var m *membersChange
	parsed := req.quirks.Clone()
	err = s.directory.Update(req.Context(), func(tx *directory.Tx) error {
		req.quirks = parsed.Clone() // the transaction may run again
		g = directory.Group{}
		if err := setGroupDocument(&g, document); err != nil {
			return err
		}
		if err := tx.PutGroup(&g); err != nil {
			return err
		}
		m = &membersChange{tx: tx, request: req, group: g.ID}
		if err := m.set(members); err != nil {
			return err
		}
		if g, err = tx.Group(g.ID); err != nil {
			return err
		}
		req.changes = append(schema.Changes(nil, document), m.changes()...)
		return s.recordEvent(tx, req, change{operation: "create", group: &g, detail: m.detail()})
	})
	s.countOperation(s.types.Group, "create", true, err)
	if err != nil {
		return nil, err
	}
	s.warnAboutMembers(m)
	req.status = http.StatusCreated
	return s.renderGroup(req, &g, want)
}

// groupBody returns the document in a body that is a whole group, and the IDs of its members.
func (s *Server) groupBody(req *request) (map[string]any, []string, error) {
	body, err := req.body()
	if err != nil {
		return nil, nil, err
	}
	document, err := schema.Normalize(s.types.Group, body, &req.quirks)
	if err != nil {
		return nil, nil, err
	}
	members, _ := document[schema.MembersAttribute].([]string)
	delete(document, schema.MembersAttribute)
	return document, members, nil
}

// replaceGroup handles PUT /Groups/{id} (RFC 7644 §3.5.1).
func (s *Server) replaceGroup(req *request) (any, error) {
	document, members, err := s.groupBody(req)
	if err != nil {
		return nil, err
	}
	want, err := selection(s.types.Group, req)
	if err != nil {
		return nil, err
	}
	g, err := s.updateGroup(req, "replace", func(g *directory.Group, m *membersChange) (map[string]any, error) {
		return document, m.set(members)
	})
	if err != nil {
		return nil, err
	}
	return s.renderGroup(req, &g, want)
}

// patchGroup handles PATCH /Groups/{id} (RFC 7644 §3.5.2).
func (s *Server) patchGroup(req *request) (any, error) {
	body, err := req.body()
	if err != nil {
		return nil, err
	}
	operations, err := schema.ParsePatch(s.types.Group, body, &req.quirks)
	if err != nil {
		return nil, err
	}
	want, err := selection(s.types.Group, req)
	if err != nil {
		return nil, err
	}
	g, err := s.updateGroup(req, "patch", func(g *directory.Group, m *membersChange) (map[string]any, error) {
		var others []schema.Operation
		for _, o := range operations {
			if o.Path.Attribute == nil || o.Path.Attribute.Name != schema.MembersAttribute {
				others = append(others, o)
				continue
			}
			if err := m.apply(o); err != nil {
				return nil, err
			}
		}
		if len(others) == 0 {
			return nil, nil
		}
		return s.applyPatch(req, s.types.Group, g.Document, others)
	})
	if err != nil {
		return nil, err
	}
	if req.URL.Query().Has("attributes") {
		return s.renderGroup(req, &g, want)
	}
	req.status, req.etag, req.location = http.StatusNoContent, etag(g.Version), req.base+"/Groups/"+g.ID
	return nil, nil // without members, which are costly to read and which Entra ID ignores
}

// updateGroup replaces the document of the group that the request names by the result of f, which may also change its
// members, in one transaction with the audit event. If the result is nil, the document stays, and so does what the directory
// has beside it: what decisions read of a group changes for each member, which takes long in a large one.
func (s *Server) updateGroup(req *request, operation string, f func(*directory.Group, *membersChange) (map[string]any, error)) (directory.Group, error) {
	var g directory.Group
	var m *membersChange
	changed := false
	parsed := req.quirks.Clone()
	err := s.directory.Update(req.Context(), func(tx *directory.Tx) (err error) {
		req.quirks = parsed.Clone() // the transaction may run again
		if g, err = s.requestedGroup(tx, req); err != nil {
			return err
		}
		before := g
		m = &membersChange{tx: tx, request: req, group: g.ID}
		document, err := f(&g, m)
		if err != nil {
			return err
		}
		if document != nil {
			if err := setGroupDocument(&g, document); err != nil {
				return err
			}
		}
		if err := tx.PutGroup(&g); err != nil {
			return err
		}
		if changed = g.Version != before.Version; !changed {
			return nil
		}
		req.changes = nil
		if document != nil {
			if err := req.recordChanges(before.Document, document); err != nil {
				return err
			}
		}
		req.changes = append(req.changes, m.changes()...)
		return s.recordEvent(tx, req, change{operation: operation, group: &g, detail: m.detail()})
	})
	s.countOperation(s.types.Group, operation, changed, err)
	if err == nil {
		s.warnAboutMembers(m)
	}
	return g, err
}

// requestedGroup returns the group that the request's path names, if it has the version that the request demands.
func (s *Server) requestedGroup(tx *directory.Tx, req *request) (directory.Group, error) {
	req.recorded = nil // the transaction may run again
	g, err := tx.Group(req.PathValue("id"))
	if err != nil {
		return g, notFound(err, req.PathValue("id"))
	}
	return g, req.precondition(g.Version)
}

// deleteGroup handles DELETE /Groups/{id} (RFC 7644 §3.6).
func (s *Server) deleteGroup(req *request) (any, error) {
	err := s.directory.Update(req.Context(), func(tx *directory.Tx) error {
		g, err := s.requestedGroup(tx, req)
		if err != nil {
			return err
		}
		if err := tx.DeleteGroup(g.ID); err != nil {
			return err
		}
		req.changes = []string{"deleted"}
		return s.recordEvent(tx, req, change{operation: "delete", group: &g})
	})
	s.countOperation(s.types.Group, "delete", true, err)
	req.status = http.StatusNoContent
	return nil, err
}
