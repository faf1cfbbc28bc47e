package scim

import (
	"cmp"
	"encoding/json"
	"iter"
	"strings"
)

// subject is a resource that a filter looks at. isMember and members answer for
// members, whom no document holds.
type subject struct {
	document map[string]any
	isMember func(id string) (bool, error)
	members  iter.Seq2[map[string]any, error]
}

// matches evaluates f. Only isMember and members can fail.
func (s *subject) matches(f *filter) (bool, error) {
	switch f.op {
	case "and", "or":
		left, err := s.matches(f.left)
		if err != nil || left == (f.op == "or") {
			return left, err
		}
		return s.matches(f.right)
	case "not":
		inner, err := s.matches(f.left)
		return !inner, err
	}
	if f.target.attribute.name == "members" && s.isMember != nil {
		return s.matchesMember(f)
	}
	return matchesValue(valueAt(s.document, f.target), f), nil
}

// matchesMember looks one member up, or looks at all of them.
func (s *subject) matchesMember(f *filter) (bool, error) {
	if id, ok := memberIn(f); ok {
		return s.isMember(id)
	}
	some := false
	for m, err := range s.members {
		if err != nil || matchesOne(m, f) {
			return err == nil, err
		}
		some = true
	}
	return !some && matchesOne(nil, f), nil
}

// memberIn is the id in members eq "ID", members.value eq "ID" and
// members[value eq "ID"].
func memberIn(f *filter) (id string, ok bool) {
	if f.op == "[]" {
		f = f.left
	}
	if f.op != "eq" || f.target.compared().name != "value" {
		return "", false
	}
	id, ok = f.value.(string)
	return id, ok
}

// valueAt is the attribute's value in a document, nil if unassigned.
func valueAt(document map[string]any, t *target) any {
	if t.extension != "" {
		document, _ = document[t.extension].(map[string]any)
	}
	return document[t.attribute.name]
}

// matchesValue: of a multi-valued attribute, any element that matches suffices.
func matchesValue(v any, f *filter) bool {
	if list, ok := v.([]any); ok {
		for _, one := range list {
			if matchesOne(one, f) {
				return true
			}
		}
		return len(list) == 0 && matchesOne(nil, f)
	}
	return matchesOne(v, f)
}

func matchesOne(v any, f *filter) bool {
	if f.op == "[]" {
		element, ok := v.(map[string]any)
		return ok && elementMatches(element, f.left)
	}
	if element, ok := v.(map[string]any); ok {
		if f.target.sub == nil && (f.op == "pr" || f.value == nil) {
			return (f.op == "eq") != (len(element) > 0)
		}
		v = element[f.target.compared().name]
	}
	return compare(v, f)
}

// elementMatches evaluates a value filter on one element.
func elementMatches(element map[string]any, f *filter) bool {
	switch f.op {
	case "and":
		return elementMatches(element, f.left) && elementMatches(element, f.right)
	case "or":
		return elementMatches(element, f.left) || elementMatches(element, f.right)
	case "not":
		return !elementMatches(element, f.left)
	}
	return compare(element[f.target.attribute.name], f)
}

// compare compares one plain value.
func compare(v any, f *filter) bool {
	switch {
	case f.op == "pr":
		return v != nil && v != ""
	case f.value == nil || v == nil: // eq null is "not present"; other comparisons with nothing fail
		return f.op == "eq" && v == nil && f.value == nil || f.op == "ne" && (v == nil) != (f.value == nil)
	}
	switch want := f.value.(type) {
	case bool:
		have, ok := v.(bool)
		return ok && (f.op == "eq" && have == want || f.op == "ne" && have != want)
	case string:
		have, ok := v.(string)
		return ok && compareText(have, want, f)
	case json.Number:
		have, ok := v.(json.Number)
		return ok && compareNumber(have, want, f.op)
	}
	return false
}

func compareText(have, want string, f *filter) bool {
	a, op := f.target.compared(), f.op
	if a.kind == dateTime {
		h, ok1 := instantOf(have)
		w, ok2 := instantOf(want)
		if ok1 && ok2 {
			return inOrder(h.Compare(w), op)
		}
	}
	if !a.caseExact {
		have, want = f.target.fold(have), f.target.fold(want)
	}
	switch op {
	case "co":
		return strings.Contains(have, want)
	case "sw":
		return strings.HasPrefix(have, want)
	case "ew":
		return strings.HasSuffix(have, want)
	}
	return inOrder(strings.Compare(have, want), op)
}

func compareNumber(have, want json.Number, op string) bool {
	h, err1 := have.Float64()
	w, err2 := want.Float64()
	return err1 == nil && err2 == nil && inOrder(cmp.Compare(h, w), op)
}

func inOrder(order int, op string) bool {
	switch op {
	case "eq":
		return order == 0
	case "ne":
		return order != 0
	case "gt":
		return order > 0
	case "ge":
		return order >= 0
	case "lt":
		return order < 0
	case "le":
		return order <= 0
	}
	return false
}

// equalities are the attribute and value of each eq in a chain of ands; ok is
// false for any other filter.
func equalities(f *filter) (list []*filter, ok bool) {
	switch f.op {
	case "and":
		left, ok1 := equalities(f.left)
		right, ok2 := equalities(f.right)
		return append(left, right...), ok1 && ok2
	case "eq":
		return []*filter{f}, f.value != nil
	}
	return nil, false
}
