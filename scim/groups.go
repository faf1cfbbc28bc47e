package scim

import (
	"encoding/json"
	"net/http"
	"strings"

	"sallyport/directory"
)

func (s *Server) createGroup(e *exchange) (any, error) {
	document, members, err := s.groupBody(e)
	if err != nil {
		return nil, err
	}
	var g directory.Group
	var m *membersChange
	parsed := e.notes.copied()
	err = s.directory.Update(e.Context(), func(tx *directory.Tx) error {
		e.notes = parsed.copied()
		g = directory.Group{}
		if err := fillGroup(&g, document); err != nil {
			return err
		}
		if err := tx.PutGroup(&g); err != nil {
			return err
		}
		m = &membersChange{tx: tx, exchange: e, group: g.ID}
		if err := m.set(members); err != nil {
			return err
		}
		if g, err = tx.Group(g.ID); err != nil {
			return err
		}
		e.changes = append(changesBetween(nil, document), m.changes()...)
		return s.record(tx, e, change{operation: "create", group: &g, detail: m.detail()})
	})
	s.counted(s.kinds.group, "create", true, err)
	if err != nil {
		return nil, err
	}
	s.remark(m)
	e.status = http.StatusCreated
	return s.renderGroup(e, &g)
}

// groupBody reads a whole group: its document and the ids of its members.
func (s *Server) groupBody(e *exchange) (map[string]any, []string, error) {
	body, err := e.body()
	if err != nil {
		return nil, nil, err
	}
	document, err := s.cleaned(e, s.kinds.group, body)
	if err != nil {
		return nil, nil, err
	}
	members, _ := document[membersName].([]string)
	delete(document, membersName)
	return document, members, nil
}

func (s *Server) replaceGroup(e *exchange) (any, error) {
	document, members, err := s.groupBody(e)
	if err != nil {
		return nil, err
	}
	g, err := s.changeGroup(e, "replace", func(g *directory.Group, m *membersChange) (map[string]any, error) {
		return document, m.set(members)
	})
	if err != nil {
		return nil, err
	}
	return s.renderGroup(e, &g)
}

func (s *Server) patchGroup(e *exchange) (any, error) {
	body, err := e.body()
	if err != nil {
		return nil, err
	}
	operations, err := parsePatch(s.kinds.group, body, &e.notes)
	if err != nil {
		return nil, err
	}
	g, err := s.changeGroup(e, "patch", func(g *directory.Group, m *membersChange) (map[string]any, error) {
		c := &cleaner{s.kinds.group, &e.notes}
		var others []operation
		for _, o := range operations {
			if o.target.attribute == nil || o.target.attribute.name != membersName {
				others = append(others, o)
				continue
			}
			if err := m.apply(c, o); err != nil {
				return nil, err
			}
		}
		return s.patched(e, s.kinds.group, g.Document, others)
	})
	if err != nil {
		return nil, err
	}
	if e.URL.Query().Has("attributes") {
		return s.renderGroup(e, &g)
	}
	e.status, e.etag, e.location = http.StatusNoContent, etag(g.Version), e.base+"/Groups/"+g.ID
	return nil, nil // members are not read for an answer that Entra throws away
}

// changeGroup replaces the group's document by what f makes of the group.
func (s *Server) changeGroup(e *exchange, operation string, f func(*directory.Group, *membersChange) (map[string]any, error)) (directory.Group, error) {
	var g directory.Group
	var m *membersChange
	changed := false
	parsed := e.notes.copied()
	err := s.directory.Update(e.Context(), func(tx *directory.Tx) (err error) {
		e.notes = parsed.copied()
		if g, err = s.group(tx, e); err != nil {
			return err
		}
		before := g
		m = &membersChange{tx: tx, exchange: e, group: g.ID}
		document, err := f(&g, m)
		if err != nil {
			return err
		}
		if err := fillGroup(&g, document); err != nil {
			return err
		}
		if err := tx.PutGroup(&g); err != nil {
			return err
		}
		if changed = g.Version != before.Version; !changed {
			return nil
		}
		if err := e.noteChanges(before.Document, document); err != nil {
			return err
		}
		e.changes = append(e.changes, m.changes()...)
		return s.record(tx, e, change{operation: operation, group: &g, detail: m.detail()})
	})
	s.counted(s.kinds.group, operation, changed, err)
	if err == nil {
		s.remark(m)
	}
	return g, err
}

// group reads the group that the request's path names, in the version it wants.
func (s *Server) group(tx *directory.Tx, e *exchange) (directory.Group, error) {
	g, err := tx.Group(e.PathValue("id"))
	if err != nil {
		return g, notFound(err, e.PathValue("id"))
	}
	return g, e.precondition(g.Version)
}

func (s *Server) deleteGroup(e *exchange) (any, error) {
	err := s.directory.Update(e.Context(), func(tx *directory.Tx) error {
		g, err := s.group(tx, e)
		if err != nil {
			return err
		}
		if err := tx.DeleteGroup(g.ID); err != nil {
			return err
		}
		e.changes = []string{"deleted"}
		return s.record(tx, e, change{operation: "delete", group: &g})
	})
	s.counted(s.kinds.group, "delete", true, err)
	e.status = http.StatusNoContent
	return nil, err
}

func fillGroup(g *directory.Group, document map[string]any) error {
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
