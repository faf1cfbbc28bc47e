package schema

import (
	"cmp"
	"encoding/json"
	"iter"
	"strings"
)

// subject is a resource that a filter looks at. isMember and members answer for
// members, whom no document holds.
type Subject struct {
	Document map[string]any
	IsMember func(id string) (bool, error)
	Members  iter.Seq2[map[string]any, error]
}

// matches evaluates f. Only isMember and members can fail.
func (s *Subject) Matches(f *Filter) (bool, error) {
	switch f.Op {
	case "and", "or":
		left, err := s.Matches(f.Left)
		if err != nil || left == (f.Op == "or") {
			return left, err
		}
		return s.Matches(f.Right)
	case "not":
		inner, err := s.Matches(f.Left)
		return !inner, err
	}
	if f.Path.Attribute.Name == "members" && s.IsMember != nil {
		return s.matchesMember(f)
	}
	return matchesValue(valueAt(s.Document, f.Path), f), nil
}

// matchesMember looks one member up, or looks at all of them.
func (s *Subject) matchesMember(f *Filter) (bool, error) {
	if id, ok := memberIn(f); ok {
		return s.IsMember(id)
	}
	some := false
	for m, err := range s.Members {
		if err != nil || matchesOne(m, f) {
			return err == nil, err
		}
		some = true
	}
	return !some && matchesOne(nil, f), nil
}

// memberIn is the id in members eq "ID", members.value eq "ID" and
// members[value eq "ID"].
func memberIn(f *Filter) (id string, ok bool) {
	if f.Op == "[]" {
		f = f.Left
	}
	if f.Op != "eq" || f.Path.Compared().Name != "value" {
		return "", false
	}
	id, ok = f.Value.(string)
	return id, ok
}

// valueAt is the attribute's value in a document, nil if unassigned.
func valueAt(document map[string]any, t *Path) any {
	if t.Extension != "" {
		document, _ = document[t.Extension].(map[string]any)
	}
	return document[t.Attribute.Name]
}

// matchesValue: of a multi-valued attribute, any element that matches suffices.
func matchesValue(v any, f *Filter) bool {
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

func matchesOne(v any, f *Filter) bool {
	if f.Op == "[]" {
		element, ok := v.(map[string]any)
		return ok && MatchesElement(element, f.Left)
	}
	if element, ok := v.(map[string]any); ok {
		if f.Path.Sub == nil && (f.Op == "pr" || f.Value == nil) {
			return (f.Op == "eq") != (len(element) > 0)
		}
		v = element[f.Path.Compared().Name]
	}
	return compare(v, f)
}

// elementMatches evaluates a value filter on one element.
func MatchesElement(element map[string]any, f *Filter) bool {
	switch f.Op {
	case "and":
		return MatchesElement(element, f.Left) && MatchesElement(element, f.Right)
	case "or":
		return MatchesElement(element, f.Left) || MatchesElement(element, f.Right)
	case "not":
		return !MatchesElement(element, f.Left)
	}
	return compare(element[f.Path.Attribute.Name], f)
}

// compare compares one plain value.
func compare(v any, f *Filter) bool {
	switch {
	case f.Op == "pr":
		return v != nil && v != ""
	case f.Value == nil || v == nil: // eq null is "not present"; other comparisons with nothing fail
		return f.Op == "eq" && v == nil && f.Value == nil || f.Op == "ne" && (v == nil) != (f.Value == nil)
	}
	switch want := f.Value.(type) {
	case bool:
		have, ok := v.(bool)
		return ok && (f.Op == "eq" && have == want || f.Op == "ne" && have != want)
	case string:
		have, ok := v.(string)
		return ok && compareText(have, want, f)
	case json.Number:
		have, ok := v.(json.Number)
		return ok && compareNumber(have, want, f.Op)
	}
	return false
}

func compareText(have, want string, f *Filter) bool {
	a, op := f.Path.Compared(), f.Op
	if a.Type == DateTime {
		h, ok1 := instantOf(have)
		w, ok2 := instantOf(want)
		if ok1 && ok2 {
			return inOrder(h.Compare(w), op)
		}
	}
	if !a.CaseExact {
		have, want = f.Path.fold(have), f.Path.fold(want)
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
func equalities(f *Filter) (list []*Filter, ok bool) {
	switch f.Op {
	case "and":
		left, ok1 := equalities(f.Left)
		right, ok2 := equalities(f.Right)
		return append(left, right...), ok1 && ok2
	case "eq":
		return []*Filter{f}, f.Value != nil
	}
	return nil, false
}
