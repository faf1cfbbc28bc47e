package schema

import (
	"slices"
	"strings"
)

// Selection says which attributes a response has (RFC 7644 §3.9).
type Selection struct{ only, excluded []attributeName }

// attributeName names an attribute or a sub-attribute, in lower case. If it has no attribute, it stands for the whole
// extension.
type attributeName struct{ extension, attribute, sub string }

// ParseSelection parses the parameters attributes and excludedAttributes. Each may be given several times, and each is
// a list of names with commas between them.
func ParseSelection(rt *ResourceType, attributes, excludedAttributes []string) (Selection, error) {
	s := Selection{rt.attributeNames(attributes), rt.attributeNames(excludedAttributes)}
	if len(s.only) > 0 && len(s.excluded) > 0 {
		return s, invalid("invalidValue", "attributes and excludedAttributes exclude each other.")
	}
	return s, nil
}

func (rt *ResourceType) attributeNames(lists []string) (names []attributeName) {
	for name := range strings.SplitSeq(strings.Join(lists, ","), ",") {
		name = strings.TrimSpace(name)
		if x := rt.Extension(name); x != nil {
			names = append(names, attributeName{extension: x.URN})
			continue
		}
		urn, rest := rt.splitURN(name)
		if rest == "" {
			continue
		}
		first, sub, _ := strings.Cut(strings.ToLower(rest), ".")
		_, extension := rt.attribute(urn, first)
		names = append(names, attributeName{extension, first, sub})
	}
	return names
}

// covers reports whether n is other, or other is a part of n.
func (n attributeName) covers(other attributeName) bool {
	return n.extension == other.extension && (n.attribute == "" || n.attribute == other.attribute && (n.sub == "" || n.sub == other.sub))
}

// part returns the name of the part of n that is called name.
func (n attributeName) part(name string) attributeName {
	if n.attribute == "" {
		n.attribute = strings.ToLower(name)
	} else {
		n.sub = strings.ToLower(name)
	}
	return n
}

// Includes reports whether a response has an attribute of the core schema, or a part of it.
func (s Selection) Includes(name string) bool {
	return s.includes(attributeName{attribute: strings.ToLower(name)})
}

func (s Selection) includes(n attributeName) bool {
	if slices.ContainsFunc(s.excluded, func(e attributeName) bool { return e.covers(n) }) {
		return false
	}
	return len(s.only) == 0 || slices.ContainsFunc(s.only, func(o attributeName) bool { return o.covers(n) || n.covers(o) })
}

// Trim returns the resource without what was not asked for. Its id and schemas always stay.
func (s Selection) Trim(rt *ResourceType, resource map[string]any) map[string]any {
	if len(s.only) == 0 && len(s.excluded) == 0 {
		return resource
	}
	out := map[string]any{}
	for name, v := range resource {
		n := attributeName{}.part(name)
		if rt.Extension(name) != nil {
			n = attributeName{extension: name}
		}
		if name != "id" && name != "schemas" {
			v = s.trimValue(n, v)
		}
		if v != nil {
			out[name] = v
		}
	}
	return out
}

// trimValue returns what is to be shown of the value of n; nil for nothing.
func (s Selection) trimValue(n attributeName, v any) any {
	if !s.includes(n) {
		return nil
	}
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, inner := range v {
			if trimmed := s.trimValue(n.part(name), inner); trimmed != nil {
				out[name] = trimmed
			}
		}
		if len(out) > 0 {
			return out
		}
		return nil
	case []any:
		var out []any
		for _, element := range v {
			if trimmed := s.trimValue(n, element); trimmed != nil {
				out = append(out, trimmed)
			}
		}
		if len(out) > 0 {
			return out
		}
		return nil
	}
	return v
}
