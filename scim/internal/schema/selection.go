package schema

import (
	"slices"
	"strings"
)

// selection is which attributes an answer has (RFC 7644 §3.9).
type Selection struct{ only, without []attributeName }

// named is an attribute or sub-attribute, in lower case; only an extension's URN
// stands for all of the extension.
type attributeName struct{ extension, attribute, sub string }

// covers says whether n is other, or what other is a part of.
func (n attributeName) covers(other attributeName) bool {
	return n.extension == other.extension && (n.attribute == "" || n.attribute == other.attribute && (n.sub == "" || n.sub == other.sub))
}

// within is the part of n that is called name.
func (n attributeName) within(name string) attributeName {
	if n.attribute == "" {
		n.attribute = strings.ToLower(name)
	} else {
		n.sub = strings.ToLower(name)
	}
	return n
}

// selected reads attributes and excludedAttributes.
func ParseSelection(kind *ResourceType, attributes, excluded []string) (Selection, error) {
	s := Selection{kind.named(attributes), kind.named(excluded)}
	if len(s.only) > 0 && len(s.without) > 0 {
		return s, invalid("invalidValue", "attributes and excludedAttributes exclude each other.")
	}
	return s, nil
}

// named reads lists of names, divided by commas.
func (k *ResourceType) named(lists []string) (all []attributeName) {
	for name := range strings.SplitSeq(strings.Join(lists, ","), ",") {
		name = strings.TrimSpace(name)
		if x := k.Extension(name); x != nil {
			all = append(all, attributeName{extension: x.URN})
			continue
		}
		urn, rest := k.splitURN(name)
		if rest == "" {
			continue
		}
		first, sub, _ := strings.Cut(strings.ToLower(rest), ".")
		_, extension := k.attributeAt(urn, first)
		all = append(all, attributeName{extension, first, sub})
	}
	return all
}

// wants says whether an answer has the attribute at all, or something of it.
func (s Selection) includesName(n attributeName) bool {
	if slices.ContainsFunc(s.without, func(w attributeName) bool { return w.covers(n) }) {
		return false
	}
	return len(s.only) == 0 || slices.ContainsFunc(s.only, func(o attributeName) bool { return o.covers(n) || n.covers(o) })
}

// wantsAttribute says whether an answer has an attribute of the core schema, so
// that costly ones are not gathered in vain.
func (s Selection) Includes(name string) bool { return s.includesName(attributeName{attribute: name}) }

// trim takes away what was not asked for; id and schemas always stay.
func (s Selection) Trim(kind *ResourceType, resource map[string]any) map[string]any {
	if len(s.only)+len(s.without) == 0 {
		return resource
	}
	out := map[string]any{}
	for name, v := range resource {
		n := attributeName{}.within(name)
		if kind.Extension(name) != nil {
			n = attributeName{extension: name}
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
func (s Selection) trimmed(n attributeName, v any) any {
	if !s.includesName(n) {
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
