package schema

import (
	"maps"
	"slices"
)

// elements normalizes the values of a multi-valued attribute: no two of them are equal, and at most one is primary. It
// returns nil, not an empty list, if there are none.
func (n *normalizer) elements(a *Attribute, v any) (any, error) {
	in, err := n.list(v)
	if err != nil {
		return nil, err
	}
	if len(in) > maxValues {
		return nil, invalid("tooMany", "%s has %d values; at most %d are kept.", a.Name, len(in), maxValues)
	}
	out := []any{}
	for _, element := range in {
		value, err := n.single(a, element)
		if err != nil {
			return nil, err
		}
		if value != nil {
			out = append(out, value)
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	out = n.mergeDuplicates(out)
	n.lastPrimary(out)
	return out, nil
}

// list returns v as a list; a single value becomes a list of one.
func (n *normalizer) list(v any) ([]any, error) {
	list, ok := v.([]any)
	if !ok && v != nil && v != "" {
		n.quirks.Add(QuirkSingleForMany)
		list = []any{v}
	}
	return list, nil
}

// mergeDuplicates makes one element of all with the same type and value (RFC 7643 §2.4).
func (n *normalizer) mergeDuplicates(list []any) []any {
	index, out := map[string]int{}, list[:0:0]
	for _, element := range list {
		id := identity(element)
		i, duplicate := index[id]
		if !duplicate {
			index[id] = len(out)
			out = append(out, element)
			continue
		}
		n.quirks.Add(QuirkSameValueTwice)
		out[i] = merged(out[i], element)
	}
	return out
}

// identity returns a text that is the same for elements with the same type and value.
func identity(element any) string {
	if object, ok := element.(map[string]any); ok && object["value"] != nil {
		return jsonOf([]any{object["type"], object["value"]})
	}
	return jsonOf(element)
}

// merged returns an element with what its duplicate has besides.
func merged(element, duplicate any) any {
	object, ok := element.(map[string]any)
	if !ok {
		return element
	}
	both := maps.Clone(object)
	maps.Copy(both, duplicate.(map[string]any))
	return both
}

// lastPrimary leaves only the last of the primary elements primary (RFC 7643 §2.4 allows one).
func (n *normalizer) lastPrimary(list []any) {
	found := false
	for _, element := range slices.Backward(list) {
		if !isPrimary(element) {
			continue
		}
		if found {
			n.quirks.Add(QuirkPrimaryTwice)
			element.(map[string]any)["primary"] = false
		}
		found = true
	}
}

// isPrimary reports whether an element is marked as the preferred one.
func isPrimary(element any) bool {
	object, ok := element.(map[string]any)
	return ok && object["primary"] == true
}
