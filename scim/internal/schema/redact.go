package schema

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// plainName matches what a word of a filter may be to be shown.
var plainName = regexp.MustCompile(`^[A-Za-z0-9$._:,-]{1,200}$`)

// filterShape is a filter's attributes and operators (RFC 7644 §7.5.2).
func RedactFilter(text string) string {
	l := lexer{text: text}
	var words []string
	for value := false; len(words) < 50; {
		t, err := l.next()
		if err != nil {
			return "(unreadable)"
		}
		switch {
		case t.kind == 0:
			return strings.Join(words, " ")
		case value || t.kind == '"' || t.kind == 'w' && !plainName.MatchString(t.text):
			words, value = append(words, "…"), false
		default:
			words, value = append(words, t.text), t.kind == 'w' && compares(strings.ToLower(t.text))
		}
	}
	return strings.Join(words, " ") + " …"
}

// compares says whether a word is an operator that a value follows.
func compares(word string) bool {
	return slices.Contains([]string{"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"}, word)
}

// changesBetween names the attributes that differ between two documents.
func Changes(before, after map[string]any) (changes []string) {
	names := map[string]any{}
	maps.Copy(names, before)
	maps.Copy(names, after)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		old, now := before[name], after[name]
		inner1, is1 := old.(map[string]any)
		inner2, is2 := now.(map[string]any)
		switch {
		case sameJSON(old, now):
		case strings.HasPrefix(name, "urn:") && (is1 || is2):
			for _, sub := range Changes(inner1, inner2) {
				changes = append(changes, name+":"+sub)
			}
		default:
			changes = append(changes, name+flip(old, now))
		}
	}
	return changes
}

// flip tells of a boolean what it was and is.
func flip(old, now any) string {
	b, is := now.(bool)
	if !is {
		return ""
	}
	if was, had := old.(bool); had {
		return fmt.Sprintf(" %t → %t", was, b)
	}
	return fmt.Sprintf(" → %t", b)
}
