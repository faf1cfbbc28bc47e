package schema

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Changes names the attributes that differ between two documents, sorted. Of a boolean it tells the values too.
func Changes(before, after map[string]any) (changes []string) {
	names := maps.Clone(after)
	if names == nil {
		names = map[string]any{}
	}
	maps.Copy(names, before)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		oldValue, newValue := before[name], after[name]
		oldObject, wasObject := oldValue.(map[string]any)
		newObject, isObject := newValue.(map[string]any)
		switch {
		case equalJSON(oldValue, newValue):
		case strings.HasPrefix(name, "urn:") && (wasObject || isObject):
			for _, attribute := range Changes(oldObject, newObject) {
				changes = append(changes, name+":"+attribute)
			}
		default:
			changes = append(changes, name+booleanChange(oldValue, newValue))
		}
	}
	return changes
}

// booleanChange returns what a boolean was and is; "" for other values.
func booleanChange(oldValue, newValue any) string {
	now, ok := newValue.(bool)
	if !ok {
		return ""
	}
	if old, ok := oldValue.(bool); ok {
		return fmt.Sprintf(" %t → %t", old, now)
	}
	return fmt.Sprintf(" → %t", now)
}
