package scim

import (
	"encoding/json"
	"net/http"
	"strings"

	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

func (s *Server) createGroup(req *request) (any, error) {
	document, members, err := s.groupBody(req)
	if err != nil {
		return nil, err
	}
	var g directory.Group
	var m *membersChange
	parsed := req.quirks.Clone()
	err = s.directory.Update(req.Context(), func(tx *directory.Tx) error {
		req.quirks = parsed.Clone()
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
		return s.record(tx, req, change{operation: "create", group: &g, detail: m.detail()})
	})
	s.count(s.types.Group, "create", true, err)
	if err != nil {
		return nil, err
	}
	s.warn(m)
	req.status = http.StatusCreated
	return s.renderGroup(req, &g)
}

// groupBody reads a whole group: its document and the ids of its members.
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

func (s *Server) replaceGroup(req *request) (any, error) {
	document, members, err := s.groupBody(req)
	if err != nil {
		return nil, err
	}
	g, err := s.changeGroup(req, "replace", func(g *directory.Group, m *membersChange) (map[string]any, error) {
		return document, m.set(members)
	})
	if err != nil {
		return nil, err
	}
	return s.renderGroup(req, &g)
}

func (s *Server) patchGroup(req *request) (any, error) {
	body, err := req.body()
	if err != nil {
		return nil, err
	}
	operations, err := schema.ParsePatch(s.types.Group, body, &req.quirks)
	if err != nil {
		return nil, err
	}
	g, err := s.changeGroup(req, "patch", func(g *directory.Group, m *membersChange) (map[string]any, error) {
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
		return s.patched(req, s.types.Group, g.Document, others)
	})
	if err != nil {
		return nil, err
	}
	if req.URL.Query().Has("attributes") {
		return s.renderGroup(req, &g)
	}
	req.status, req.etag, req.location = http.StatusNoContent, etag(g.Version), req.base+"/Groups/"+g.ID
	return nil, nil // members are not read for an answer that Entra throws away
}

// changeGroup replaces the group's document by what f makes of the group.
func (s *Server) changeGroup(req *request, operation string, f func(*directory.Group, *membersChange) (map[string]any, error)) (directory.Group, error) {
	var g directory.Group
	var m *membersChange
	changed := false
	parsed := req.quirks.Clone()
	err := s.directory.Update(req.Context(), func(tx *directory.Tx) (err error) {
		req.quirks = parsed.Clone()
		if g, err = s.group(tx, req); err != nil {
			return err
		}
		before := g
		m = &membersChange{tx: tx, request: req, group: g.ID}
		document, err := f(&g, m)
		if err != nil {
			return err
		}
		if err := setGroupDocument(&g, document); err != nil {
			return err
		}
		if err := tx.PutGroup(&g); err != nil {
			return err
		}
		if changed = g.Version != before.Version; !changed {
			return nil
		}
		if err := req.noteChanges(before.Document, document); err != nil {
			return err
		}
		req.changes = append(req.changes, m.changes()...)
		return s.record(tx, req, change{operation: operation, group: &g, detail: m.detail()})
	})
	s.count(s.types.Group, operation, changed, err)
	if err == nil {
		s.warn(m)
	}
	return g, err
}

// group reads the group that the request's path names, in the version it wants.
func (s *Server) group(tx *directory.Tx, req *request) (directory.Group, error) {
	g, err := tx.Group(req.PathValue("id"))
	if err != nil {
		return g, notFound(err, req.PathValue("id"))
	}
	return g, req.precondition(g.Version)
}

func (s *Server) deleteGroup(req *request) (any, error) {
	err := s.directory.Update(req.Context(), func(tx *directory.Tx) error {
		g, err := s.group(tx, req)
		if err != nil {
			return err
		}
		if err := tx.DeleteGroup(g.ID); err != nil {
			return err
		}
		req.changes = []string{"deleted"}
		return s.record(tx, req, change{operation: "delete", group: &g})
	})
	s.count(s.types.Group, "delete", true, err)
	req.status = http.StatusNoContent
	return nil, err
}

func setGroupDocument(g *directory.Group, document map[string]any) error {
	name, _ := document["displayName"].(string)
	if strings.TrimSpace(name) == "" {
		return invalid("invalidValue", "displayName is required.")
	}
	data, err := json.Marshal(document)
	if err != nil {
		return err
	}
	g.DisplayName, g.Document = name, data
	g.ExternalID, _ = document["externalId"].(string)
	return nil
}
