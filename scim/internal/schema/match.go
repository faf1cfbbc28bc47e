package schema

import (
	"cmp"
	"encoding/json"
	"iter"
	"slices"
	"strings"
)

// Subject is a resource that a filter is evaluated on. No document holds the members of a group, so they are asked for.
type Subject struct {
	Document map[string]any
	Stored   Stored                           // has the attributes instead of Document, if it is not nil
	IsMember func(id string) (bool, error)    // nil for resources without members
	Members  iter.Seq2[map[string]any, error] // as objects with value, type and $ref
}

// Stored is a resource of which only those attributes are decoded that are asked for.
type Stored interface {
	// Value returns the value of an attribute as a decoded document has it: of the core schema, or of an extension.
	Value(extension, attribute string) any
	// Lacks reports that no text in the value of an attribute has text as a part, whatever the case of ASCII letters. False
	// means that it may have. The text is in lower case.
	Lacks(extension, attribute, text string) bool
}

// value returns the value of the attribute that p points at; nil if it is unassigned.
func (s *Subject) value(p *Path) any {
	if s.Stored != nil {
		return s.Stored.Value(p.Extension, p.Attribute.Name)
	}
	return p.valueIn(s.Document)
}

// Matches reports whether the filter matches a resource. Only IsMember and Members can fail.
func (f *Filter) Matches(s *Subject) (bool, error) {
	switch f.Op {
	case "and", "or":
		left, err := f.Left.Matches(s)
		if err != nil || left == (f.Op == "or") {
			return left, err
		}
		return f.Right.Matches(s)
	case "not":
		inner, err := f.Left.Matches(s)
		return !inner, err
	}
	if f.Path.Attribute.Name == MembersAttribute && s.IsMember != nil {
		return f.matchesMember(s)
	}
	if s.Stored != nil && f.part != "" && s.Stored.Lacks(f.Path.Extension, f.Path.Attribute.Name, f.part) {
		return false, nil
	}
	return f.matchesValue(s.value(f.Path)), nil
}

// matchesMember looks up one member if the filter names one by its id. Otherwise it reads the members until one matches.
func (f *Filter) matchesMember(s *Subject) (bool, error) {
	if id, ok := f.MemberID(); ok {
		return s.IsMember(id)
	}
	empty := true
	for member, err := range s.Members {
		if err != nil {
			return false, err
		}
		if f.matchesOne(member) {
			return true, nil
		}
		empty = false
	}
	return empty && f.matchesOne(nil), nil
}

// MemberID returns the id in members eq "ID", members.value eq "ID" and members[value eq "ID"].
func (f *Filter) MemberID() (id string, ok bool) {
	if f.Op == "[]" {
		f = f.Left
	}
	if f.Op != "eq" || f.Path.Compared().Name != "value" {
		return "", false
	}
	id, ok = f.Value.(string)
	return id, ok
}

// matchesValue reports whether a value matches; of a multi-valued attribute, whether any element does.
func (f *Filter) matchesValue(v any) bool {
	list, ok := v.([]any)
	if !ok {
		return f.matchesOne(v)
	}
	return slices.ContainsFunc(list, f.matchesOne) || len(list) == 0 && f.matchesOne(nil)
}

func (f *Filter) matchesOne(v any) bool {
	element, isObject := v.(map[string]any)
	if f.Op == "[]" {
		return isObject && f.Left.MatchesElement(element)
	}
	if isObject {
		if f.Path.Sub == nil && (f.Op == "pr" || f.Value == nil) {
			return (f.Op == "eq") != (len(element) > 0)
		}
		v = element[f.Path.Compared().Name]
	}
	return f.compare(v)
}

// MatchesElement reports whether the operand of a value filter matches an element.
func (f *Filter) MatchesElement(element map[string]any) bool {
	switch f.Op {
	case "and":
		return f.Left.MatchesElement(element) && f.Right.MatchesElement(element)
	case "or":
		return f.Left.MatchesElement(element) || f.Right.MatchesElement(element)
	case "not":
		return !f.Left.MatchesElement(element)
	}
	return f.compare(element[f.Path.Attribute.Name])
}

// compare compares one plain value. An unassigned value equals null, and nothing else.
func (f *Filter) compare(v any) bool {
	switch {
	case f.Op == "pr":
		return v != nil && v != ""
	case f.Value == nil || v == nil:
		bothNull := v == nil && f.Value == nil
		return f.Op == "eq" && bothNull || f.Op == "ne" && !bothNull
	}
	switch want := f.Value.(type) {
	case bool:
		have, ok := v.(bool)
		return ok && (f.Op == "eq" && have == want || f.Op == "ne" && have != want)
	case string:
		have, ok := v.(string)
		return ok && f.compareText(have, want)
	case json.Number:
		have, ok := v.(json.Number)
		return ok && compareNumber(have, want, f.Op)
	}
	return false
}

func (f *Filter) compareText(have, want string) bool {
	a := f.Path.Compared()
	if a.Type == DateTime {
		haveTime, ok := parseDateTime(have)
		wantTime, wantOK := parseDateTime(want)
		if ok && wantOK {
			return orderMatches(haveTime.Compare(wantTime), f.Op)
		}
	}
	if !a.CaseExact {
		have, want = f.Path.fold(have), f.folded
	}
	switch f.Op {
	case "co":
		return strings.Contains(have, want)
	case "sw":
		return strings.HasPrefix(have, want)
	case "ew":
		return strings.HasSuffix(have, want)
	}
	return orderMatches(strings.Compare(have, want), f.Op)
}

func compareNumber(have, want json.Number, op string) bool {
	h, err := have.Float64()
	w, wantErr := want.Float64()
	return err == nil && wantErr == nil && orderMatches(cmp.Compare(h, w), op)
}

// orderMatches reports whether the operator holds for two values of which cmp.Compare returned order.
func orderMatches(order int, op string) bool {
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
