package schema

import (
	"cmp"
	"encoding/json"
	"strings"
)

// key is what a resource is sorted by.
type SortKey struct {
	Assigned bool    `json:"a,omitempty"`
	Number   float64 `json:"n,omitempty"` // of numbers and booleans
	Text     string  `json:"t,omitempty"` // of everything else
}

func (k SortKey) Compare(other SortKey) int {
	if k.Assigned != other.Assigned {
		if k.Assigned {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(k.Number, other.Number), strings.Compare(k.Text, other.Text))
}

// keyOf is what a document is sorted by: of many values the primary one, else the
// first (RFC 7644 §3.4.2.3).
func SortKeyOf(document map[string]any, by *Path) SortKey {
	if by == nil {
		return SortKey{}
	}
	v := valueAt(document, by)
	if list, ok := v.([]any); ok {
		v = preferred(list)
	}
	a := by.Compared()
	if object, ok := v.(map[string]any); ok {
		v = object[a.Name]
	}
	switch v := v.(type) {
	case bool:
		if v {
			return SortKey{Assigned: true, Number: 1}
		}
		return SortKey{Assigned: true}
	case json.Number:
		n, err := v.Float64()
		return SortKey{Assigned: err == nil, Number: n}
	case string:
		return SortKey{Assigned: true, Text: by.sortText(v)}
	}
	return SortKey{}
}

func (t *Path) sortText(s string) string {
	a := t.Compared()
	if a.Type == DateTime {
		if instant, ok := instantOf(s); ok {
			return instant.UTC().Format("2006-01-02T15:04:05.000000000Z")
		}
	}
	if a.CaseExact {
		return s
	}
	return t.fold(s)
}

func preferred(list []any) any {
	for _, one := range list {
		if element, ok := one.(map[string]any); ok && element["primary"] == true {
			return one
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[0]
}
