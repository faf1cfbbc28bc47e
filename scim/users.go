package scim

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"sallyport/directory"
)

// document is what is stored of a resource, as an object.
func documentOf(stored json.RawMessage) (map[string]any, error) {
	if len(stored) == 0 {
		return map[string]any{}, nil
	}
	d := json.NewDecoder(bytes.NewReader(stored))
	d.UseNumber()
	document := map[string]any{}
	return document, d.Decode(&document)
}

func (s *Server) createUser(e *exchange) (any, error) {
	body, err := e.body()
	if err != nil {
		return nil, err
	}
	document, err := s.cleaned(e, s.kinds.user, body)
	if err != nil {
		return nil, err
	}
	if _, kept := document["active"]; !kept {
		said, _ := member(body, "active")
		document["active"] = said == nil
	}
	var u directory.User
	err = s.directory.Update(e.Context(), func(tx *directory.Tx) error {
		u = directory.User{}
		if err := fillUser(&u, document); err != nil {
			return err
		}
		if err := tx.PutUser(&u); err != nil {
			return err
		}
		e.changes = changesBetween(nil, document)
		return s.record(tx, e, change{operation: "create", user: &u})
	})
	s.counted(s.kinds.user, "create", true, err)
	if err != nil {
		return nil, err
	}
	e.status = http.StatusCreated
	return s.renderUser(e, &u)
}

// cleaned is the canonical document of a body that is a whole resource.
func (s *Server) cleaned(e *exchange, kind *kindOfResource, body map[string]any) (map[string]any, error) {
	if _, ok := member(body, "schemas"); !ok {
		e.notes.add(quirkMissingSchemas)
	}
	return (&cleaner{kind, &e.notes}).document(body)
}

func (s *Server) replaceUser(e *exchange) (any, error) {
	body, err := e.body()
	if err != nil {
		return nil, err
	}
	document, err := s.cleaned(e, s.kinds.user, body)
	if err != nil {
		return nil, err
	}
	_, e.saysActive = document["active"]
	return s.changeUser(e, "replace", func(u *directory.User) (map[string]any, error) {
		if !e.saysActive { // nobody is activated unasked
			document["active"] = u.Active
		}
		return document, nil
	})
}

func (s *Server) patchUser(e *exchange) (any, error) {
	body, err := e.body()
	if err != nil {
		return nil, err
	}
	operations, err := parsePatch(s.kinds.user, body, &e.notes)
	if err != nil {
		return nil, err
	}
	e.saysActive = slices.ContainsFunc(operations, func(o operation) bool {
		return o.target.attribute != nil && o.target.attribute.name == "active"
	})
	return s.changeUser(e, "patch", func(u *directory.User) (map[string]any, error) {
		return s.patched(e, s.kinds.user, u.Document, operations)
	})
}

// patched is a stored document after operations.
func (s *Server) patched(e *exchange, kind *kindOfResource, stored json.RawMessage, operations []operation) (map[string]any, error) {
	document, err := documentOf(stored)
	if err != nil {
		return nil, err
	}
	c := &cleaner{kind, &e.notes}
	for _, o := range operations {
		if err := c.apply(document, o); err != nil {
			return nil, err
		}
	}
	c.prune(document)
	return document, nil
}

// changeUser replaces the user's document by what f makes of the user.
func (s *Server) changeUser(e *exchange, operation string, f func(*directory.User) (map[string]any, error)) (any, error) {
	var u directory.User
	changed := false
	parsed := e.notes.copied()
	err := s.directory.Update(e.Context(), func(tx *directory.Tx) (err error) {
		e.notes = parsed.copied()
		if u, err = s.user(tx, e); err != nil {
			return err
		}
		before := u
		document, err := f(&u)
		if err != nil {
			return err
		}
		if err := fillUser(&u, document); err != nil {
			return err
		}
		if err := s.settle(tx, e, &before, &u); err != nil {
			return err
		}
		if err := tx.PutUser(&u); err != nil {
			return err
		}
		if changed = u.Version != before.Version; !changed {
			return nil
		}
		if err := e.noteChanges(before.Document, document); err != nil {
			return err
		}
		return s.record(tx, e, change{operation: operation, result: lifeOf(before.Active, u.Active), user: &u})
	})
	s.counted(s.kinds.user, operation, changed, err)
	if err != nil {
		return nil, err
	}
	return s.renderUser(e, &u)
}

// settle asks the brake about a deactivation, and drops what it holds of a user
// whom the provider calls active after all.
func (s *Server) settle(tx *directory.Tx, e *exchange, before, after *directory.User) error {
	switch {
	case before.Active && !after.Active:
		return s.mayLeave(tx, before)
	case after.Active && e.saysActive:
		return tx.DeleteHeld(after.ID)
	}
	return nil
}

// noteChanges notes what differs from the stored document.
func (e *exchange) noteChanges(stored json.RawMessage, document map[string]any) error {
	before, err := documentOf(stored)
	e.changes = changesBetween(before, document)
	return err
}

// lifeOf names what became of an account.
func lifeOf(before, after bool) string {
	switch {
	case before && !after:
		return "deactivated"
	case !before && after:
		return "activated"
	}
	return ""
}

// user reads the user that the request's path names, in the version it wants.
func (s *Server) user(tx *directory.Tx, e *exchange) (directory.User, error) {
	u, err := tx.User(e.PathValue("id"))
	if err != nil {
		return u, notFound(err, e.PathValue("id"))
	}
	return u, e.precondition(u.Version)
}

func (s *Server) deleteUser(e *exchange) (any, error) {
	err := s.directory.Update(e.Context(), func(tx *directory.Tx) error {
		u, err := s.user(tx, e)
		if err != nil {
			return err
		}
		if u.Active {
			if err := s.mayLeave(tx, &u); err != nil {
				return err
			}
		}
		if err := errors.Join(tx.DeleteHeld(u.ID), tx.DeleteUser(u.ID)); err != nil {
			return err
		}
		e.changes = []string{"deleted"}
		return s.record(tx, e, change{operation: "delete", user: &u})
	})
	s.counted(s.kinds.user, "delete", true, err)
	e.status = http.StatusNoContent
	return nil, err
}

// fillUser stores a document in u, with the attributes that decisions read.
func fillUser(u *directory.User, document map[string]any) error {
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
