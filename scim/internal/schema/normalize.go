package schema

import (
	"maps"
	"slices"
	"strings"
)

// Normalize returns the canonical document of a body that is a whole resource: names as in the schema, values of the
// schema's types, nothing unassigned, nothing unknown, nothing read-only. The members of a group, if there are any, are
// their ids, a []string under [MembersAttribute].
func Normalize(rt *ResourceType, body map[string]any, quirks *Quirks) (map[string]any, error) {
	if _, ok := Member(body, "schemas"); !ok {
		quirks.Add(QuirkMissingSchemas)
	}
	n := &normalizer{resourceType: rt, quirks: quirks, named: map[*Attribute]any{}}
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(body)) {
		if err := n.put(out, name, body[name]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// normalizer makes canonical values of what a client sent.
type normalizer struct {
	resourceType *ResourceType
	quirks       *Quirks
	named        map[*Attribute]any // the values of a resource's attributes so far
}

// put normalizes one member of a resource and stores it in out.
func (n *normalizer) put(out map[string]any, name string, v any) error {
	if EqualNames(name, "schemas") {
		return nil // computed when a resource is returned
	}
	if x := n.resourceType.Extension(name); x != nil {
		return n.putSchema(out, x, v)
	}
	if core := &n.resourceType.Core; EqualNames(name, core.URN) {
		if v != nil {
			n.quirks.Add(QuirkCoreObject)
		}
		return n.putSchema(out, core, v)
	}
	urn, rest := n.resourceType.splitURN(name)
	if urn == "" && hasURNPrefix(name) {
		n.quirks.Add(QuirkUnknownExtension)
		return nil
	}
	first, sub, dotted := strings.Cut(rest, ".")
	a, extension := n.resourceType.attribute(urn, first)
	switch {
	case a == nil || dotted && find(a.SubAttributes, sub) == nil:
		n.quirks.Add(QuirkUnknownAttribute)
		return nil
	case a.Mutability == ReadOnly:
		n.quirks.Add(QuirkReadOnlyIgnored)
		return nil
	case a.Mutability == WriteOnly:
		return nil
	case dotted:
		n.quirks.Add(QuirkDottedKey)
		v = map[string]any{sub: v}
	}
	if urn == "" && extension != "" {
		n.quirks.Add(QuirkBareExtension)
	}
	if joinedByDot(name, urn) {
		n.quirks.Add(QuirkDottedURN)
	}
	value, err := n.value(a, v)
	if err == nil && !dotted && v != nil {
		err = n.checkRepeated(a, value)
	}
	if err != nil || value == nil {
		return err
	}
	if extension != "" {
		out = object(out, extension)
	}
	if existing, ok := out[a.Name].(map[string]any); ok && dotted {
		maps.Copy(existing, value.(map[string]any))
		return nil
	}
	out[a.Name] = value
	return nil
}

// checkRepeated rejects an attribute that a resource has under two names (active and urn:…:User:active) with different
// values: which of them is meant would be a guess. No value differs from a value only for a boolean, so that a user is
// not active by one name if the other does not say so.
func (n *normalizer) checkRepeated(a *Attribute, value any) error {
	if value == nil && a.Type != Boolean {
		return nil
	}
	if before, ok := n.named[a]; ok && !equalJSON(before, value) {
		return invalid("invalidValue", "%s is named twice, with different values.", a.Name)
	}
	n.named[a] = value
	return nil
}

// putSchema normalizes the attributes of one schema, which stand in an object below its URN.
func (n *normalizer) putSchema(out map[string]any, x *Schema, v any) error {
	values, ok := v.(map[string]any)
	if !ok {
		if v == nil || v == "" {
			return nil
		}
		return invalid("invalidValue", "%s must be an object.", x.URN)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := n.put(out, x.URN+":"+name, values[name]); err != nil {
			return err
		}
	}
	return nil
}

// object returns the object that parent holds under name. If there is none, it puts an empty one there.
func object(parent map[string]any, name string) map[string]any {
	inner, ok := parent[name].(map[string]any)
	if !ok {
		inner = map[string]any{}
		parent[name] = inner
	}
	return inner
}

// maxValues bounds the values of one attribute. Only the size of the body bounds members, which no document holds.
const maxValues = 1000

// value normalizes the value of an attribute; nil means unassigned.
func (n *normalizer) value(a *Attribute, v any) (any, error) {
	if isMembers(a) {
		return n.members(v)
	}
	if a.MultiValued {
		return n.elements(a, v)
	}
	return n.unlisted(a, v)
}

// unlisted normalizes one value, which may stand in a list of one.
func (n *normalizer) unlisted(a *Attribute, v any) (any, error) {
	if list, ok := v.([]any); ok {
		switch len(list) {
		case 0:
			return nil, nil
		case 1:
			n.quirks.Add(QuirkArrayOfOne)
			v = list[0]
		default:
			return nil, invalid("invalidValue", "%s has one value, not %d.", a.Name, len(list))
		}
	}
	return n.single(a, v)
}

// single normalizes one value: of a single-valued attribute, or one element of a multi-valued one.
func (n *normalizer) single(a *Attribute, v any) (any, error) {
	switch id := v.(type) {
	case nil:
		return nil, nil
	case MemberID: // the decoder took the element of another attribute for a member
		v = map[string]any{"value": string(id)}
	}
	if a.Type == Complex {
		return n.complex(a, v)
	}
	if wrapper, ok := v.(map[string]any); ok { // {"$ref": null, "value": "x"}
		inner, ok := Member(wrapper, "value")
		if !ok {
			return nil, invalid("invalidValue", "%s is a plain value, not an object.", a.Name)
		}
		n.quirks.Add(QuirkWrappedValue)
		return n.unlisted(a, inner)
	}
	return n.plain(a, v)
}

// complex normalizes an object; nil if nothing is left of it.
func (n *normalizer) complex(a *Attribute, v any) (any, error) {
	in, ok := v.(map[string]any)
	if !ok {
		if v == "" {
			n.quirks.Add(QuirkEmptyString)
			return nil, nil
		}
		if find(a.SubAttributes, "value") == nil {
			return nil, invalid("invalidValue", "%s must be an object.", a.Name)
		}
		n.quirks.Add(QuirkBareValue)
		in = map[string]any{"value": v}
	}
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		sub := find(a.SubAttributes, name)
		if sub == nil {
			n.quirks.Add(QuirkUnknownAttribute)
			continue
		}
		if sub.Mutability == ReadOnly {
			continue
		}
		value, err := n.value(sub, in[name])
		if err != nil {
			return nil, err
		}
		if value != nil {
			out[sub.Name] = value
		}
	}
	if isEmpty(out) {
		return nil, nil
	}
	return out, nil
}

// isEmpty reports whether an element says nothing but of what kind its value would be.
func isEmpty(element map[string]any) bool {
	for name := range element {
		if name != "type" && name != "primary" && name != "$ref" {
			return false
		}
	}
	return true
}
