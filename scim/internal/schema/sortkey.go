package schema

import (
	"cmp"
	"encoding/json"
	"strings"
)

// SortKey is what a resource is sorted by. Cursors hold it as JSON.
type SortKey struct {
	Assigned bool    `json:"a,omitempty"`
	Number   float64 `json:"n,omitempty"` // of numbers and booleans
	Text     string  `json:"t,omitempty"` // of everything else
}

// Compare orders two keys. What is unassigned comes last (RFC 7644 §3.4.2.3).
func (k SortKey) Compare(other SortKey) int {
	if k.Assigned != other.Assigned {
		if k.Assigned {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(k.Number, other.Number), strings.Compare(k.Text, other.Text))
}

// SortKey returns what a subject is sorted by: of many values the primary one, else the first (RFC 7644 §3.4.2.3). If the
// path is nil, all keys are equal.
func (p *Path) SortKey(s *Subject) SortKey {
	if p == nil {
		return SortKey{}
	}
	v := s.value(p)
	if list, ok := v.([]any); ok {
		v = preferred(list)
	}
	if object, ok := v.(map[string]any); ok {
		v = object[p.Compared().Name]
	}
	switch v := v.(type) {
	case bool:
		if v {
			return SortKey{Assigned: true, Number: 1}
		}
		return SortKey{Assigned: true}
	case json.Number:
		number, err := v.Float64()
		return SortKey{Assigned: err == nil, Number: number}
	case string:
		return SortKey{Assigned: true, Text: p.sortText(v)}
	}
	return SortKey{}
}

// sortText returns a text that has the order of the attribute's values.
func (p *Path) sortText(s string) string {
	a := p.Compared()
	if a.Type == DateTime {
		if t, ok := parseDateTime(s); ok {
			return t.UTC().Format("2006-01-02T15:04:05.000000000Z")
		}
	}
	if a.CaseExact {
		return s
	}
	return p.fold(s)
}

// preferred returns the primary element, else the first; nil if there is none.
func preferred(list []any) any {
	for _, element := range list {
		if isPrimary(element) {
			return element
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[0]
}
