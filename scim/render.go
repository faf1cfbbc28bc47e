package scim

import (
	"errors"
	"iter"
	"net/http"
	"time"

	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

// The messages of SCIM that are no resources, by URN (RFC 7644 §3.4.2, §3.12).
const (
	listURN  = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	errorURN = "urn:ietf:params:scim:api:messages:2.0:Error"
)

func notFound(err error, id string) error {
	if errors.Is(err, directory.ErrNotFound) {
		return fail(http.StatusNotFound, "", "Resource %.100s not found.", id)
	}
	return err
}

// selected reads attributes and excludedAttributes.
func selected(kind *schema.ResourceType, req *request) (schema.Selection, error) {
	q := req.URL.Query()
	return schema.ParseSelection(kind, q["attributes"], q["excludedAttributes"])
}

// renderUser is the answer to a change of a user.
func (s *Server) renderUser(req *request, u *directory.User) (out any, err error) {
	want, err := selected(req.types.User, req)
	if err != nil {
		return nil, err
	}
	err = s.directory.View(req.Context(), func(tx *directory.Tx) error {
		out, err = userResource(tx, req, u, want)
		return err
	})
	req.etag, req.location = etag(u.Version), req.base+"/Users/"+u.ID
	return out, err
}

func (s *Server) renderGroup(req *request, g *directory.Group) (out any, err error) {
	want, err := selected(req.types.Group, req)
	if err != nil {
		return nil, err
	}
	err = s.directory.View(req.Context(), func(tx *directory.Tx) error {
		out, err = groupResource(tx, req, g, want)
		return err
	})
	req.etag, req.location = etag(g.Version), req.base+"/Groups/"+g.ID
	return out, err
}

// userResource is a user as it goes over the wire.
func userResource(tx *directory.Tx, req *request, u *directory.User, want schema.Selection) (map[string]any, error) {
	out, err := decodeDocument(u.Document)
	if err != nil {
		return nil, err
	}
	describe(out, req.types.User, req, u.ID, u.Version, u.Created, u.Modified)
	if want.Includes("groups") {
		if err := addGroups(tx, req, u.ID, out); err != nil {
			return nil, err
		}
	}
	return want.Trim(req.types.User, out), nil
}

// addGroups adds the groups that a user is a direct member of.
func addGroups(tx *directory.Tx, req *request, id string, out map[string]any) error {
	groups, err := tx.GroupsOf(id)
	if err != nil {
		return err
	}
	var list []any
	for _, g := range groups {
		list = append(list, map[string]any{"value": g.ID, "$ref": req.base + "/Groups/" + g.ID, "display": g.DisplayName, "type": "direct"})
	}
	if len(list) > 0 {
		out["groups"] = list
	}
	return nil
}

// groupResource is a group as it goes over the wire; its members are read only
// if they are wanted.
func groupResource(tx *directory.Tx, req *request, g *directory.Group, want schema.Selection) (map[string]any, error) {
	out, err := decodeDocument(g.Document)
	if err != nil {
		return nil, err
	}
	describe(out, req.types.Group, req, g.ID, g.Version, g.Created, g.Modified)
	if want.Includes("members") {
		list := []any{}
		for m, err := range memberDocuments(tx, req, g.ID) {
			if err != nil {
				return nil, err
			}
			list = append(list, m)
		}
		if len(list) > 0 {
			out["members"] = list
		}
	}
	return want.Trim(req.types.Group, out), nil
}

// memberDocuments are a group's members as they go over the wire.
func memberDocuments(tx *directory.Tx, req *request, group string) iter.Seq2[map[string]any, error] {
	return func(yield func(map[string]any, error) bool) {
		for m, err := range tx.Members(group, "") {
			one := map[string]any{"value": m.ID, "type": "User", "$ref": req.base + "/Users/" + m.ID}
			if m.IsGroup {
				one["type"], one["$ref"] = "Group", req.base+"/Groups/"+m.ID
			}
			if !yield(one, err) {
				return
			}
		}
	}
}

// describe adds what is ours: id, schemas and meta.
func describe(out map[string]any, kind *schema.ResourceType, req *request, id string, version uint64, created, modified time.Time) {
	schemas := []any{kind.Core.URN}
	for _, x := range kind.Extensions {
		if _, has := out[x.URN]; has {
			schemas = append(schemas, x.URN)
		}
	}
	out["schemas"], out["id"] = schemas, id
	out["meta"] = map[string]any{"resourceType": kind.Name, "created": instant(created), "lastModified": instant(modified),
		"location": req.base + "/" + kind.Endpoint + "/" + id, "version": etag(version)}
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
