package scim

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

// document is what is stored of a resource, as an object.
func decodeDocument(stored json.RawMessage) (map[string]any, error) {
	if len(stored) == 0 {
		return map[string]any{}, nil
	}
	d := json.NewDecoder(bytes.NewReader(stored))
	d.UseNumber()
	document := map[string]any{}
	return document, d.Decode(&document)
}

func (s *Server) createUser(req *request) (any, error) {
	body, err := req.body()
	if err != nil {
		return nil, err
	}
	document, err := schema.Normalize(s.types.User, body, &req.quirks)
	if err != nil {
		return nil, err
	}
	if _, kept := document["active"]; !kept {
		said, _ := schema.Member(body, "active")
		document["active"] = said == nil
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
		return s.record(tx, req, change{operation: "create", user: &u})
	})
	s.count(s.types.User, "create", true, err)
	if err != nil {
		return nil, err
	}
	req.status = http.StatusCreated
	return s.renderUser(req, &u)
}

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
	return s.changeUser(req, "replace", func(u *directory.User) (map[string]any, error) {
		if !req.setsActive { // nobody is activated unasked
			document["active"] = u.Active
		}
		return document, nil
	})
}

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
		return o.Path.Attribute != nil && o.Path.Attribute.Name == "active"
	})
	return s.changeUser(req, "patch", func(u *directory.User) (map[string]any, error) {
		return s.patched(req, s.types.User, u.Document, operations)
	})
}

// patched is a stored document after operations.
func (s *Server) patched(req *request, kind *schema.ResourceType, stored json.RawMessage, operations []schema.Operation) (map[string]any, error) {
	document, err := decodeDocument(stored)
	if err != nil {
		return nil, err
	}
	return document, schema.ApplyPatch(kind, document, operations, &req.quirks)
}

// changeUser replaces the user's document by what f makes of the user.
func (s *Server) changeUser(req *request, operation string, f func(*directory.User) (map[string]any, error)) (any, error) {
	var u directory.User
	changed := false
	parsed := req.quirks.Clone()
	err := s.directory.Update(req.Context(), func(tx *directory.Tx) (err error) {
		req.quirks = parsed.Clone()
		if u, err = s.user(tx, req); err != nil {
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
		if err := req.noteChanges(before.Document, document); err != nil {
			return err
		}
		return s.record(tx, req, change{operation: operation, result: activation(before.Active, u.Active), user: &u})
	})
	s.count(s.types.User, operation, changed, err)
	if err != nil {
		return nil, err
	}
	return s.renderUser(req, &u)
}

// settle asks the brake about a deactivation, and drops what it holds of a user
// whom the provider calls active after all.
func (s *Server) resolveHold(tx *directory.Tx, req *request, before, after *directory.User) error {
	switch {
	case before.Active && !after.Active:
		return s.checkDeactivation(tx, before)
	case after.Active && req.setsActive:
		return deleteHold(tx.Writer(), after.ID)
	}
	return nil
}

// noteChanges notes what differs from the stored document.
func (req *request) noteChanges(stored json.RawMessage, document map[string]any) error {
	before, err := decodeDocument(stored)
	req.changes = schema.Changes(before, document)
	return err
}

// lifeOf names what became of an account.
func activation(before, after bool) string {
	switch {
	case before && !after:
		return "deactivated"
	case !before && after:
		return "activated"
	}
	return ""
}

// user reads the user that the request's path names, in the version it wants.
func (s *Server) user(tx *directory.Tx, req *request) (directory.User, error) {
	u, err := tx.User(req.PathValue("id"))
	if err != nil {
		return u, notFound(err, req.PathValue("id"))
	}
	return u, req.precondition(u.Version)
}

func (s *Server) deleteUser(req *request) (any, error) {
	err := s.directory.Update(req.Context(), func(tx *directory.Tx) error {
		u, err := s.user(tx, req)
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
		return s.record(tx, req, change{operation: "delete", user: &u})
	})
	s.count(s.types.User, "delete", true, err)
	req.status = http.StatusNoContent
	return nil, err
}

// fillUser stores a document in u, with the attributes that decisions read.
func setUserDocument(u *directory.User, document map[string]any) error {
	userName, _ := document["userName"].(string)
	if strings.TrimSpace(userName) == "" {
		return invalid("invalidValue", "userName is required.")
	}
	data, err := json.Marshal(document)
	if err != nil {
		return err
	}
	u.UserName, u.Document = userName, data
	u.ExternalID, _ = document["externalId"].(string)
	u.Active = document["active"] == true
	u.Email, u.Emails = emailOf(document)
	u.Roles = rolesOf(document)
	u.DisplayName, _ = document["displayName"].(string)
	if name, ok := document["name"].(map[string]any); ok && u.DisplayName == "" {
		u.DisplayName, _ = name["formatted"].(string)
	}
	if u.DisplayName == "" {
		u.DisplayName = userName
	}
	return nil
}

// emailOf is the primary address, else the work one, else the first; and all.
func emailOf(document map[string]any) (best string, all []string) {
	rank := -1
	list, _ := document["emails"].([]any)
	for _, one := range list {
		element, _ := one.(map[string]any)
		value, _ := element["value"].(string)
		r := 0
		if element["type"] == "work" {
			r = 1
		}
		if element["primary"] == true {
			r = 2
		}
		if value != "" {
			all = append(all, value)
		}
		if value != "" && r > rank {
			best, rank = value, r
		}
	}
	return best, all
}

// rolesOf takes roles in all of Entra's mappings; one of them writes JSON into
// the value.
func rolesOf(document map[string]any) (roles []string) {
	list, _ := document["roles"].([]any)
	for _, one := range list {
		element, _ := one.(map[string]any)
		value, _ := element["value"].(string)
		var inner struct{ Value string }
		if len(value) > 0 && value[0] == '{' && json.Unmarshal([]byte(value), &inner) == nil {
			value = inner.Value
		}
		if value != "" {
			roles = append(roles, value)
		}
	}
	return roles
}
