package scim

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

// createUser handles POST /Users (RFC 7644 §3.3).
func (s *Server) createUser(req *request) (any, error) {
	body, err := req.body()
	if err != nil {
		return nil, err
	}
	document, err := schema.Normalize(s.types.User, body, &req.quirks)
	if err != nil {
		return nil, err
	}
	if _, ok := document["active"]; !ok { // without a value a new user is active; with one that means nothing, inactive
		document["active"] = !schema.Mentions(s.types.User, body, "active")
	}
	want, err := selection(s.types.User, req)
	if err != nil {
		return nil, err
	}
	var u directory.User
	err = s.directory.Update(req.Context(), func(tx *directory.Tx) error {
		u = directory.User{}
		if err := setUserDocument(&u, document); err != nil {
			return err
		}
		if err := tx.PutUser(&u); err != nil {
			return err
		}
		req.changes = schema.Changes(nil, document)
		return s.recordEvent(tx, req, change{operation: "create", user: &u})
	})
	s.countOperation(s.types.User, "create", true, err)
	if err != nil {
		return nil, err
	}
	req.status = http.StatusCreated
	return s.renderCreated(req, &u, document, want), nil
}

// replaceUser handles PUT /Users/{id} (RFC 7644 §3.5.1).
func (s *Server) replaceUser(req *request) (any, error) {
	body, err := req.body()
	if err != nil {
		return nil, err
	}
	document, err := schema.Normalize(s.types.User, body, &req.quirks)
	if err != nil {
		return nil, err
	}
	_, req.setsActive = document["active"]
	return s.updateUser(req, "replace", func(u *directory.User) (map[string]any, error) {
		if !req.setsActive { // a request that does not mention active must not activate anybody
			document["active"] = u.Active
		}
		return document, nil
	})
}

// patchUser handles PATCH /Users/{id} (RFC 7644 §3.5.2).
func (s *Server) patchUser(req *request) (any, error) {
	body, err := req.body()
	if err != nil {
		return nil, err
	}
	operations, err := schema.ParsePatch(s.types.User, body, &req.quirks)
	if err != nil {
		return nil, err
	}
	req.setsActive = slices.ContainsFunc(operations, func(o schema.Operation) bool {
		return o.Path.Attribute != nil && o.Path.Attribute.Name == "active" && o.Path.Extension == ""
	})
	return s.updateUser(req, "patch", func(u *directory.User) (map[string]any, error) {
		return s.applyPatch(req, s.types.User, u.Document, operations)
	})
}

// applyPatch returns a stored document with the operations applied to it.
func (s *Server) applyPatch(req *request, kind *schema.ResourceType, stored json.RawMessage, operations []schema.Operation) (map[string]any, error) {
	document, err := decodeDocument(stored)
	if err != nil {
		return nil, err
	}
	return document, schema.ApplyPatch(kind, document, operations, &req.quirks)
}

// updateUser replaces the document of the user that the request names by the result of f, in one transaction with the
// check of a deactivation and the audit event.
func (s *Server) updateUser(req *request, operation string, f func(*directory.User) (map[string]any, error)) (any, error) {
	want, err := selection(s.types.User, req)
	if err != nil {
		return nil, err
	}
	var u directory.User
	changed := false
	parsed := req.quirks.Clone()
	err = s.directory.Update(req.Context(), func(tx *directory.Tx) (err error) {
		req.quirks = parsed.Clone() // the transaction may run again
		if u, err = s.requestedUser(tx, req); err != nil {
			return err
		}
		before := u
		document, err := f(&u)
		if err != nil {
			return err
		}
		if err := setUserDocument(&u, document); err != nil {
			return err
		}
		if err := s.resolveHold(tx, req, &before, &u); err != nil {
			return err
		}
		if err := tx.PutUser(&u); err != nil {
			return err
		}
		if changed = u.Version != before.Version; !changed {
			return nil
		}
		if err := req.recordChanges(before.Document, document); err != nil {
			return err
		}
		return s.recordEvent(tx, req, change{operation: operation, result: activation(before.Active, u.Active), user: &u})
	})
	s.countOperation(s.types.User, operation, changed, err)
	if err != nil {
		return nil, err
	}
	return s.renderUser(req, &u, want)
}

// resolveHold checks a deactivation against the limit. If the request says that the user is active after all, it deletes
// the hold of an earlier deactivation.
func (s *Server) resolveHold(tx *directory.Tx, req *request, before, after *directory.User) error {
	switch {
	case before.Active && !after.Active:
		return s.checkDeactivation(tx, before)
	case after.Active && req.setsActive:
		return deleteHold(tx.Writer(), after.ID)
	}
	return nil
}

// recordChanges sets the names of the attributes that differ from the stored document.
func (req *request) recordChanges(stored json.RawMessage, document map[string]any) error {
	before, err := decodeDocument(stored)
	req.changes = schema.Changes(before, document)
	return err
}

// activation returns what a change did to an account, for the audit record; "" if it stays active or inactive.
func activation(before, after bool) string {
	switch {
	case before && !after:
		return "deactivated"
	case !before && after:
		return "activated"
	}
	return ""
}

// requestedUser returns the user that the request's path names, if it has the version that the request demands.
func (s *Server) requestedUser(tx *directory.Tx, req *request) (directory.User, error) {
	req.recorded = nil // the transaction may run again
	u, err := tx.User(req.PathValue("id"))
	if err != nil {
		return u, notFound(err, req.PathValue("id"))
	}
	return u, req.precondition(u.Version)
}

// deleteUser handles DELETE /Users/{id} (RFC 7644 §3.6).
func (s *Server) deleteUser(req *request) (any, error) {
	err := s.directory.Update(req.Context(), func(tx *directory.Tx) error {
		u, err := s.requestedUser(tx, req)
		if err != nil {
			return err
		}
		if u.Active {
			if err := s.checkDeactivation(tx, &u); err != nil {
				return err
			}
		}
		if err := errors.Join(deleteHold(tx.Writer(), u.ID), tx.DeleteUser(u.ID)); err != nil {
			return err
		}
		req.changes = []string{"deleted"}
		return s.recordEvent(tx, req, change{operation: "delete", user: &u})
	})
	s.countOperation(s.types.User, "delete", true, err)
	req.status = http.StatusNoContent
	return nil, err
}
