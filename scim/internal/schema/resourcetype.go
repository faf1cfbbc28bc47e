package schema

import (
	"slices"
	"strings"
)

// ResourceType describes the resources of one endpoint (RFC 7643 §6).
type ResourceType struct {
	Name       string // User
	Endpoint   string // Users
	Core       Schema
	Extensions []Schema
	fold       func(string) string
}

// Types holds the resource types of a server.
type Types struct{ User, Group *ResourceType }

// Has reports whether resources have an attribute of that name that is of no extension.
func (rt *ResourceType) Has(name string) bool {
	a, extension := rt.attribute("", name)
	return a != nil && extension == ""
}

// New returns the resource types, with further extensions of users. fold must return the same text for all texts that
// are equal where an attribute is not case-exact: of a text of ASCII, the one in lower case.
func New(fold func(string) string, extensions ...Schema) Types {
	user := ResourceType{
		Name: "User", Endpoint: "Users",
		Core:       Schema{UserURN, "User", "User Account", userAttributes},
		Extensions: append([]Schema{{EnterpriseURN, "EnterpriseUser", "Enterprise User", enterpriseAttributes}}, extensions...),
		fold:       fold,
	}
	group := ResourceType{
		Name: "Group", Endpoint: "Groups",
		Core: Schema{GroupURN, "Group", "Group", groupAttributes},
		fold: fold,
	}
	return Types{&user, &group}
}

// All returns the resource types in a fixed order.
func (t Types) All() []*ResourceType { return []*ResourceType{t.User, t.Group} }

// Schemas returns the core schema and the extensions of every resource type.
func (t Types) Schemas() (all []Schema) {
	for _, rt := range t.All() {
		all = append(append(all, rt.Core), rt.Extensions...)
	}
	return all
}

// Extension returns the extension with that URN, ignoring case; nil if there is none.
func (rt *ResourceType) Extension(urn string) *Schema {
	for i := range rt.Extensions {
		if EqualNames(rt.Extensions[i].URN, urn) {
			return &rt.Extensions[i]
		}
	}
	return nil
}

// attribute returns the top-level attribute of that name: of the extension if urn names one, else of the core schema.
// Without a URN an attribute of an extension is found too, since Entra writes the path "manager". extension is the URN
// under which documents hold the attribute; "" for the core schema.
func (rt *ResourceType) attribute(urn, name string) (a *Attribute, extension string) {
	if urn != "" && !EqualNames(urn, rt.Core.URN) {
		if x := rt.Extension(urn); x != nil {
			return find(x.Attributes, name), x.URN
		}
		return nil, ""
	}
	if a = find(rt.Core.Attributes, name); a == nil {
		a = find(commonAttributes, name)
	}
	if a != nil || urn != "" {
		return a, ""
	}
	for i := range rt.Extensions {
		if a = find(rt.Extensions[i].Attributes, name); a != nil {
			return a, rt.Extensions[i].URN
		}
	}
	return nil, ""
}

// splitURN splits "urn:…:User:name.sub" into the URN of a schema of the resource type and the rest (RFC 7644 §3.10).
// If path does not begin with such a URN, urn is "" and rest is all of path. Some clients write a dot for the colon
// behind the URN; [joinedByDot] tells.
func (rt *ResourceType) splitURN(path string) (urn, rest string) {
	if !hasURNPrefix(path) {
		return "", path
	}
	for _, separator := range []byte(":.") {
		if urn = rt.longestURN(path, separator); urn != "" {
			return urn, path[min(len(path), len(urn)+1):]
		}
	}
	return "", path
}

// longestURN returns the longest URN of a schema that path begins with, if path ends there or goes on with separator;
// "" if there is none.
func (rt *ResourceType) longestURN(path string, separator byte) (urn string) {
	for _, known := range slices.Concat([]Schema{rt.Core}, rt.Extensions) {
		n := len(known.URN)
		if n > len(urn) && len(path) >= n && EqualNames(path[:n], known.URN) && (len(path) == n || path[n] == separator) {
			urn = known.URN
		}
	}
	return urn
}

// joinedByDot reports whether a path that splitURN has split has a dot behind its URN.
func joinedByDot(path, urn string) bool {
	return urn != "" && len(path) > len(urn) && path[len(urn)] == '.'
}

// Mentions reports whether a body that is a whole resource says anything about an attribute of the core schema, under
// any of the attribute's names. It does so even if what it says means nothing, but null says nothing.
func Mentions(rt *ResourceType, body map[string]any, attribute string) bool {
	for name, v := range body {
		if v == nil {
			continue
		}
		if inner, ok := v.(map[string]any); ok && EqualNames(name, rt.Core.URN) && Mentions(rt, inner, attribute) {
			return true
		}
		urn, rest := rt.splitURN(name)
		first, _, _ := strings.Cut(rest, ".")
		if a, extension := rt.attribute(urn, first); a != nil && extension == "" && a.Name == attribute {
			return true
		}
	}
	return false
}

func hasURNPrefix(name string) bool { return len(name) >= 4 && EqualNames(name[:4], "urn:") }
