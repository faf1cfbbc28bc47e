package scim

import (
	"errors"
	"iter"
	"net/http"
	"slices"
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
type selection struct{ only, without []named }

// named is an attribute or sub-attribute, in lower case; only an extension's URN
// stands for all of the extension.
type named struct{ extension, attribute, sub string }

// covers says whether n is other, or what other is a part of.
func (n named) covers(other named) bool {
	return n.extension == other.extension && (n.attribute == "" || n.attribute == other.attribute && (n.sub == "" || n.sub == other.sub))
}

// within is the part of n that is called name.
func (n named) within(name string) named {
	if n.attribute == "" {
		n.attribute = strings.ToLower(name)
	} else {
		n.sub = strings.ToLower(name)
	}
	return n
}

// selected reads attributes and excludedAttributes.
func selected(kind *kindOfResource, req *request) (selection, error) {
	q := req.URL.Query()
	s := selection{kind.named(q["attributes"]), kind.named(q["excludedAttributes"])}
	if len(s.only) > 0 && len(s.without) > 0 {
		return s, invalid("invalidValue", "attributes and excludedAttributes exclude each other.")
	}
	return s, nil
}

// named reads lists of names, divided by commas.
func (k *kindOfResource) named(lists []string) (all []named) {
	for name := range strings.SplitSeq(strings.Join(lists, ","), ",") {
		name = strings.TrimSpace(name)
		if x := k.extension(name); x != nil {
			all = append(all, named{extension: x.urn})
			continue
		}
		urn, rest := k.splitURN(name)
		if rest == "" {
			continue
		}
		first, sub, _ := strings.Cut(strings.ToLower(rest), ".")
		_, extension := k.attributeAt(urn, first)
		all = append(all, named{extension, first, sub})
	}
	return all
}

// wants says whether an answer has the attribute at all, or something of it.
func (s selection) wants(n named) bool {
	if slices.ContainsFunc(s.without, func(w named) bool { return w.covers(n) }) {
		return false
	}
	return len(s.only) == 0 || slices.ContainsFunc(s.only, func(o named) bool { return o.covers(n) || n.covers(o) })
}

// wantsAttribute says whether an answer has an attribute of the core schema, so
// that costly ones are not gathered in vain.
func (s selection) wantsAttribute(name string) bool { return s.wants(named{attribute: name}) }

// trim takes away what was not asked for; id and schemas always stay.
func (s selection) trim(kind *kindOfResource, resource map[string]any) map[string]any {
	if len(s.only)+len(s.without) == 0 {
		return resource
	}
	out := map[string]any{}
	for name, v := range resource {
		n := named{}.within(name)
		if kind.extension(name) != nil {
			n = named{extension: name}
		}
		if name != "id" && name != "schemas" {
			v = s.trimmed(n, v)
		}
		if v != nil {
			out[name] = v
		}
	}
	return out
}

// trimmed is what is wanted of the value of n; nil for nothing.
func (s selection) trimmed(n named, v any) any {
	if !s.wants(n) {
		return nil
	}
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, inner := range v {
			if kept := s.trimmed(n.within(name), inner); kept != nil {
				out[name] = kept
			}
		}
		return orNil(out, len(out))
	case []any:
		var out []any
		for _, one := range v {
			if kept := s.trimmed(n, one); kept != nil {
				out = append(out, kept)
			}
		}
		return orNil(out, len(out))
	}
	return v
}

// orNil is v, or nil where nothing is left of it.
func orNil(v any, left int) any {
	if left == 0 {
		return nil
	}
	return v
}

// renderUser is the answer to a change of a user.
func (s *Server) renderUser(req *request, u *directory.User) (out any, err error) {
	want, err := selected(req.kinds.user, req)
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
	want, err := selected(req.kinds.group, req)
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
func userResource(tx *directory.Tx, req *request, u *directory.User, want selection) (map[string]any, error) {
	out, err := decodeDocument(u.Document)
	if err != nil {
		return nil, err
	}
	describe(out, req.kinds.user, req, u.ID, u.Version, u.Created, u.Modified)
	if want.wantsAttribute("groups") {
		if err := addGroups(tx, req, u.ID, out); err != nil {
			return nil, err
		}
	}
	return want.trim(req.kinds.user, out), nil
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
func groupResource(tx *directory.Tx, req *request, g *directory.Group, want selection) (map[string]any, error) {
	out, err := decodeDocument(g.Document)
	if err != nil {
		return nil, err
	}
	describe(out, req.kinds.group, req, g.ID, g.Version, g.Created, g.Modified)
	if want.wantsAttribute("members") {
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
	return want.trim(req.kinds.group, out), nil
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
func describe(out map[string]any, kind *kindOfResource, req *request, id string, version uint64, created, modified time.Time) {
	schemas := []any{kind.core.urn}
	for _, x := range kind.extensions {
		if _, has := out[x.urn]; has {
			schemas = append(schemas, x.urn)
		}
	}
	out["schemas"], out["id"] = schemas, id
	out["meta"] = map[string]any{"resourceType": kind.name, "created": instant(created), "lastModified": instant(modified),
		"location": req.base + "/" + kind.endpoint + "/" + id, "version": etag(version)}
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
