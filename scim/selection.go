package scim

import (
	"slices"
	"strings"
)

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
func parseSelection(kind *kindOfResource, attributes, excluded []string) (selection, error) {
	s := selection{kind.named(attributes), kind.named(excluded)}
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
