package scim

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"time"

	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

// The messages of SCIM, by URN (RFC 7644 §3.4.2, §3.12).
const (
	listURN  = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	errorURN = "urn:ietf:params:scim:api:messages:2.0:Error"
)

// notFound returns a 404 that names the id if err is [directory.ErrNotFound], else err.
func notFound(err error, id string) error {
	if errors.Is(err, directory.ErrNotFound) {
		return fail(http.StatusNotFound, "", "Resource %.100s not found.", id)
	}
	return err
}

// selection reads the parameters attributes and excludedAttributes.
func selection(rt *schema.ResourceType, req *request) (schema.Selection, error) {
	q := req.URL.Query()
	return schema.ParseSelection(rt, q["attributes"], q["excludedAttributes"])
}

// renderUser returns the body of the response to a change of a user. want is parsed before the change is made: a
// request that is rejected changes nothing.
func (s *Server) renderUser(req *request, u *directory.User, want schema.Selection) (out any, err error) {
	err = s.directory.View(req.Context(), func(tx *directory.Tx) error {
		out, err = userResource(tx, req, u, want)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoResponse, err)
	}
	req.etag, req.location = etag(u.Version), req.base+"/Users/"+u.ID
	return out, nil
}

// renderCreated is renderUser for a user who was just created with a document, and who is in no group.
func (s *Server) renderCreated(req *request, u *directory.User, document map[string]any, want schema.Selection) any {
	out := maps.Clone(document)
	describe(out, req.types.User, req, u.ID, u.Version, u.Created, u.Modified)
	req.etag, req.location = etag(u.Version), req.base+"/Users/"+u.ID
	return want.Trim(req.types.User, out)
}

// renderGroup returns the body of the response to a change of a group.
func (s *Server) renderGroup(req *request, g *directory.Group, want schema.Selection) (out any, err error) {
	err = s.directory.View(req.Context(), func(tx *directory.Tx) error {
		out, err = groupResource(tx, req, g, want)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoResponse, err)
	}
	req.etag, req.location = etag(g.Version), req.base+"/Groups/"+g.ID
	return out, nil
}

// userResource returns a user as the client sees it.
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

// currentUserResource is userResource for a user from memory.
func currentUserResource(req *request, u *directory.User, want schema.Selection) (map[string]any, error) {
	out, err := decodeDocument(u.Document)
	if err != nil {
		return nil, err
	}
	describe(out, req.types.User, req, u.ID, u.Version, u.Created, u.Modified)
	if list := groupsOf(req, u); list != nil && want.Includes("groups") {
		out["groups"] = list
	}
	return want.Trim(req.types.User, out), nil
}

// addGroups adds to out the groups that a user is a direct member of.
func addGroups(tx *directory.Tx, req *request, id string, out map[string]any) error {
	groups, err := tx.GroupsOf(id)
	if err != nil {
		return err
	}
	var list []any
	for i := range groups {
		list = append(list, groupReference(req, &groups[i]))
	}
	if len(list) > 0 {
		out["groups"] = list
	}
	return nil
}

// groupReference returns a group as an element of a user's groups.
func groupReference(req *request, g *directory.Group) map[string]any {
	return map[string]any{"value": g.ID, "$ref": req.base + "/Groups/" + g.ID, "display": g.DisplayName, "type": "direct"}
}

// groupResource returns a group as the client sees it. The members are read only if the response has them.
func groupResource(tx *directory.Tx, req *request, g *directory.Group, want schema.Selection) (map[string]any, error) {
	out, err := decodeDocument(g.Document)
	if err != nil {
		return nil, err
	}
	describe(out, req.types.Group, req, g.ID, g.Version, g.Created, g.Modified)
	if want.Includes("members") {
		var list []any
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

// memberDocuments returns a group's members as the client sees them. The names of users come from memory, since a group
// may have 100,000 members.
func memberDocuments(tx *directory.Tx, req *request, group string) iter.Seq2[map[string]any, error] {
	return func(yield func(map[string]any, error) bool) {
		for m, err := range tx.Members(group, "") {
			document := map[string]any{"value": m.ID, "type": "User", "$ref": req.base + "/Users/" + m.ID}
			if m.IsGroup {
				document["type"], document["$ref"] = "Group", req.base+"/Groups/"+m.ID
			}
			if name := req.directory.NameOf(m); name != "" {
				document["display"] = name
			}
			if !yield(document, err) {
				return
			}
		}
	}
}

// describe adds the attributes that the server assigns: id, schemas and meta.
func describe(out map[string]any, rt *schema.ResourceType, req *request, id string, version uint64, created, modified time.Time) {
	schemas := []any{rt.Core.URN}
	for _, x := range rt.Extensions {
		if _, ok := out[x.URN]; ok {
			schemas = append(schemas, x.URN)
		}
	}
	out["schemas"], out["id"] = schemas, id
	out["meta"] = map[string]any{"resourceType": rt.Name, "created": formatTime(created), "lastModified": formatTime(modified),
		"location": req.base + "/" + rt.Endpoint + "/" + id, "version": etag(version)}
}

// formatTime formats a time as a dateTime in UTC (RFC 7643 §2.3.5).
func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
