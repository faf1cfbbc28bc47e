package scim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"sallyport/directory"
)

func (s *Server) createGroup(e *exchange) (any, error) {
	document, members, err := s.groupBody(e)
	if err != nil {
		return nil, err
	}
	var g directory.Group
	err = s.directory.Update(e.Context(), func(tx *directory.Tx) error {
		g = directory.Group{}
		if err := fillGroup(&g, document); err != nil {
			return err
		}
		if err := tx.PutGroup(&g); err != nil {
			return err
		}
		m := membersChange{tx: tx, group: g.ID, notes: &e.notes}
		if err := m.set(members); err != nil {
			return err
		}
		if g, err = tx.Group(g.ID); err != nil {
			return err
		}
		return s.record(tx, e, change{operation: "create", group: &g, detail: m.detail()})
	})
	s.counted(&groupKind, "create", true, err)
	if err != nil {
		return nil, err
	}
	e.status = http.StatusCreated
	return s.renderGroup(e, &g)
}

// groupBody reads a whole group: its document and the ids of its members.
func (s *Server) groupBody(e *exchange) (map[string]any, []string, error) {
	body, err := e.body()
	if err != nil {
		return nil, nil, err
	}
	document, err := s.cleaned(e, &groupKind, body)
	if err != nil {
		return nil, nil, err
	}
	members := memberIDs(document["members"])
	delete(document, "members")
	return document, members, nil
}

func memberIDs(clean any) (ids []string) {
	list, _ := clean.([]any)
	for _, one := range list {
		if id, ok := valueOf(one).(string); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

func (s *Server) replaceGroup(e *exchange) (any, error) {
	document, members, err := s.groupBody(e)
	if err != nil {
		return nil, err
	}
	return s.changeGroup(e, "replace", func(g *directory.Group, m *membersChange) (map[string]any, error) {
		return document, m.set(members)
	})
}

func (s *Server) patchGroup(e *exchange) (any, error) {
	body, err := e.body()
	if err != nil {
		return nil, err
	}
	operations, err := parsePatch(&groupKind, body, &e.notes)
	if err != nil {
		return nil, err
	}
	answer, err := s.changeGroup(e, "patch", func(g *directory.Group, m *membersChange) (map[string]any, error) {
		c := &cleaner{&groupKind, &e.notes}
		var others []operation
		for _, o := range operations {
			if o.target.attribute == nil || o.target.attribute.name != "members" {
				others = append(others, o)
				continue
			}
			if err := m.apply(c, o); err != nil {
				return nil, err
			}
		}
		return s.patched(e, &groupKind, g.Document, others)
	})
	if err != nil || e.URL.Query().Has("attributes") {
		return answer, err
	}
	e.status = http.StatusNoContent // members are never read for an answer that Entra throws away
	return nil, nil
}

// changeGroup replaces the group's document by what f makes of the group.
func (s *Server) changeGroup(e *exchange, operation string, f func(*directory.Group, *membersChange) (map[string]any, error)) (any, error) {
	var g directory.Group
	changed := false
	err := s.directory.Update(e.Context(), func(tx *directory.Tx) (err error) {
		if g, err = s.group(tx, e); err != nil {
			return err
		}
		version := g.Version
		m := &membersChange{tx: tx, group: g.ID, notes: &e.notes}
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
		if changed = g.Version != version; !changed {
			return nil
		}
		return s.record(tx, e, change{operation: operation, group: &g, detail: m.detail()})
	})
	s.counted(&groupKind, operation, changed, err)
	if err != nil {
		return nil, err
	}
	return s.renderGroup(e, &g)
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
		return s.record(tx, e, change{operation: "delete", group: &g})
	})
	s.counted(&groupKind, "delete", true, err)
	e.status = http.StatusNoContent
	return nil, err
}

func fillGroup(g *directory.Group, document map[string]any) error {
	name, _ := document["displayName"].(string)
	if name == "" {
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

// membersChange changes a group's members within a transaction, edge by edge:
// never the whole.
type membersChange struct {
	tx             *directory.Tx
	group          string
	notes          *notes
	added, removed int
	some           []string // the first of those concerned, for the record
}

// apply carries out one operation on members.
func (m *membersChange) apply(c *cleaner, o operation) error {
	if o.target.sub != nil {
		return invalid("mutability", "A member cannot be changed, only added and removed.")
	}
	if o.target.where != nil {
		ids, ok := listedIDs(o.target.where)
		if o.op != "remove" || !ok {
			return invalid("invalidPath", "Members are removed by members[value eq \"ID\"].")
		}
		return m.remove(ids)
	}
	if o.op == "remove" && !o.given {
		return m.set(nil)
	}
	clean, err := c.many(o.target.attribute, o.value)
	if err != nil {
		return err
	}
	ids := memberIDs(clean)
	switch o.op {
	case "add":
		return m.add(ids)
	case "replace":
		return m.set(ids)
	}
	m.notes.add(quirkRemoveListed)
	return m.remove(ids)
}

// listedIDs are the ids in value eq "a" or value eq "b" ….
func listedIDs(f *filter) ([]string, bool) {
	if f.op == "or" {
		left, ok1 := listedIDs(f.left)
		right, ok2 := listedIDs(f.right)
		return append(left, right...), ok1 && ok2
	}
	id, ok := f.value.(string)
	return []string{id}, ok && f.op == "eq" && f.target.attribute.name == "value"
}

func (m *membersChange) add(ids []string) error {
	n, err := m.tx.AddMembers(m.group, ids)
	m.note(ids, n, 0)
	if n < len(ids) {
		err = m.noteUnknown(ids, err)
	}
	return err
}

func (m *membersChange) remove(ids []string) error {
	n, err := m.tx.RemoveMembers(m.group, ids)
	m.note(ids, 0, n)
	return err
}

func (m *membersChange) set(ids []string) error {
	added, removed, err := m.tx.SetMembers(m.group, ids)
	m.note(ids, added, removed)
	if added < len(ids) {
		err = m.noteUnknown(ids, err)
	}
	return err
}

// noteUnknown counts the ids that name nothing; they were passed over.
func (m *membersChange) noteUnknown(ids []string, err error) error {
	for _, id := range ids {
		if err != nil {
			return err
		}
		var exists bool
		if _, exists, err = m.tx.Exists(id); err == nil && !exists {
			m.notes.add(quirkUnknownMember)
		}
	}
	return err
}

// recordedMembers bounds how many ids a record names.
const recordedMembers = 20

func (m *membersChange) note(ids []string, added, removed int) {
	m.added, m.removed = m.added+added, m.removed+removed
	if added+removed > 0 {
		m.some = append(m.some, ids[:min(len(ids), max(0, recordedMembers-len(m.some)))]...)
	}
}

func (m *membersChange) detail() map[string]string {
	detail := map[string]string{}
	if m.added > 0 {
		detail["members_added"] = strconv.Itoa(m.added)
	}
	if m.removed > 0 {
		detail["members_removed"] = strconv.Itoa(m.removed)
	}
	for i, id := range slices.Compact(slices.Sorted(slices.Values(m.some))) {
		detail["member_"+strconv.Itoa(i+1)] = id
	}
	return detail
}
