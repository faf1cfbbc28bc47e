package scim

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"sallyport/directory"
)

func notFound(err error, id string) error {
	if errors.Is(err, directory.ErrNotFound) {
		return fail(http.StatusNotFound, "", "Resource %.100s not found.", id)
	}
	return err
}

// selection is which attributes an answer has (RFC 7644 §3.9).
type selection struct {
	only, without []string // lower-case names, URN-qualified names as their last part
}

// selected reads attributes and excludedAttributes.
func selected(kind *kindOfResource, e *exchange) (selection, error) {
	q := e.URL.Query()
	names := func(parameter string) (list []string) {
		for name := range strings.SplitSeq(strings.Join(q[parameter], ","), ",") {
			if _, rest := kind.splitURN(strings.TrimSpace(name)); rest != "" {
				list = append(list, strings.ToLower(rest))
			} else if x := kind.extension(strings.TrimSpace(name)); x != nil {
				list = append(list, strings.ToLower(x.urn))
			}
		}
		return list
	}
	s := selection{names("attributes"), names("excludedAttributes")}
	if len(s.only) > 0 && len(s.without) > 0 {
		return s, invalid("invalidValue", "attributes and excludedAttributes exclude each other.")
	}
	return s, nil
}

// wants says whether an answer has attribute at all, so that costly ones are not
// gathered in vain.
func (s selection) wants(name string) bool {
	name = strings.ToLower(name)
	for _, n := range s.without {
		if n == name {
			return false
		}
	}
	if len(s.only) == 0 {
		return true
	}
	for _, n := range s.only {
		if n == name || strings.HasPrefix(n, name+".") {
			return true
		}
	}
	return false
}

// trim takes away what was not asked for; id and schemas always stay.
func (s selection) trim(kind *kindOfResource, resource map[string]any) map[string]any {
	if len(s.only)+len(s.without) == 0 {
		return resource
	}
	out := map[string]any{}
	for name, v := range resource {
		switch x := kind.extension(name); {
		case name == "id" || name == "schemas":
			out[name] = v
		case x != nil && !s.wants(name):
			if inner := s.trimObject("", v.(map[string]any)); len(inner) > 0 && (len(s.only) > 0) {
				out[name] = inner
			}
		case x != nil && len(s.only) == 0:
			out[name] = s.trimObject("", v.(map[string]any))
		case s.wants(name):
			out[name] = s.trimValue(strings.ToLower(name), v)
		}
	}
	return out
}

func (s selection) trimValue(name string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		return s.trimObject(name, v)
	case []any:
		out := make([]any, len(v))
		for i, one := range v {
			out[i] = s.trimValue(name, one)
		}
		return out
	}
	return v
}

// trimObject keeps the sub-attributes of name that are wanted; name "" is an extension.
func (s selection) trimObject(name string, object map[string]any) map[string]any {
	whole := name != "" && len(s.only) > 0 && contains(s.only, name)
	out := map[string]any{}
	for sub, v := range object {
		path := strings.ToLower(strings.TrimPrefix(name+"."+sub, "."))
		if !contains(s.without, path) && (len(s.only) == 0 || whole || s.wants(path)) {
			out[sub] = v
		}
	}
	return out
}

func contains(list []string, s string) bool {
	for _, one := range list {
		if one == s {
			return true
		}
	}
	return false
}

// renderUser is the answer to a change of a user.
func (s *Server) renderUser(e *exchange, u *directory.User) (out any, err error) {
	want, err := selected(e.kinds.user, e)
	if err != nil {
		return nil, err
	}
	err = s.directory.View(e.Context(), func(tx *directory.Tx) error {
		out, err = userResource(tx, e, u, want)
		return err
	})
	e.etag, e.location = etag(u.Version), e.base+"/Users/"+u.ID
	return out, err
}

func (s *Server) renderGroup(e *exchange, g *directory.Group) (out any, err error) {
	want, err := selected(e.kinds.group, e)
	if err != nil {
		return nil, err
	}
	err = s.directory.View(e.Context(), func(tx *directory.Tx) error {
		out, err = groupResource(tx, e, g, want)
		return err
	})
	e.etag, e.location = etag(g.Version), e.base+"/Groups/"+g.ID
	return out, err
}

// userResource is a user as it goes over the wire.
func userResource(tx *directory.Tx, e *exchange, u *directory.User, want selection) (map[string]any, error) {
	out, err := documentOf(u.Document)
	if err != nil {
		return nil, err
	}
	describe(out, e.kinds.user, e, u.ID, u.Version, u.Created, u.Modified)
	if want.wants("groups") {
		if err := addGroups(tx, e, u.ID, out); err != nil {
			return nil, err
		}
	}
	return want.trim(e.kinds.user, out), nil
}

// addGroups adds the groups that a user is a direct member of.
func addGroups(tx *directory.Tx, e *exchange, id string, out map[string]any) error {
	groups, err := tx.GroupsOf(id)
	if err != nil {
		return err
	}
	var list []any
	for _, g := range groups {
		list = append(list, map[string]any{"value": g.ID, "$ref": e.base + "/Groups/" + g.ID, "display": g.DisplayName, "type": "direct"})
	}
	if len(list) > 0 {
		out["groups"] = list
	}
	return nil
}

// groupResource is a group as it goes over the wire; its members are read only
// if they are wanted.
func groupResource(tx *directory.Tx, e *exchange, g *directory.Group, want selection) (map[string]any, error) {
	out, err := documentOf(g.Document)
	if err != nil {
		return nil, err
	}
	describe(out, e.kinds.group, e, g.ID, g.Version, g.Created, g.Modified)
	if want.wants("members") {
		list := []any{}
		for m, err := range tx.Members(g.ID, "") {
			if err != nil {
				return nil, err
			}
			one := map[string]any{"value": m.ID, "type": "User", "$ref": e.base + "/Users/" + m.ID}
			if m.IsGroup {
				one["type"], one["$ref"] = "Group", e.base+"/Groups/"+m.ID
			}
			list = append(list, one)
		}
		if len(list) > 0 {
			out["members"] = list
		}
	}
	return want.trim(e.kinds.group, out), nil
}

// describe adds what is ours: id, schemas and meta.
func describe(out map[string]any, kind *kindOfResource, e *exchange, id string, version uint64, created, modified time.Time) {
	schemas := []string{kind.core.urn}
	for _, x := range kind.extensions {
		if _, has := out[x.urn]; has {
			schemas = append(schemas, x.urn)
		}
	}
	out["schemas"], out["id"] = schemas, id
	out["meta"] = map[string]any{"resourceType": kind.name, "created": instant(created), "lastModified": instant(modified),
		"location": e.base + "/" + kind.endpoint + "/" + id, "version": etag(version)}
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
