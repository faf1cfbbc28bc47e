package policy

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestParts_CoverMatch: a field of Match without an entry in the table would be
// accepted in the configuration and then ignored.
func TestParts_CoverMatch(t *testing.T) {
	entries := map[string]int{}
	for _, p := range parts {
		entries[p.key]++
	}
	for field := range reflect.TypeFor[Match]().Fields() {
		key := field.Tag.Get("yaml")
		if entries[key] != 1 {
			t.Errorf("parts has %d entries for %q, want 1", entries[key], key)
		}
		if field.Tag.Get("doc") == "" {
			t.Errorf("the field of %q has no doc tag", key)
		}
		delete(entries, key)
	}
	if len(entries) > 0 {
		t.Errorf("parts has entries that Match has no field for: %v", entries)
	}
	if last := parts[len(parts)-2:]; last[0].key != partMaxAuthAge || last[1].key != partAuth {
		t.Errorf("the last parts are %s and %s, want those about the login", last[0].key, last[1].key)
	}
}

func TestParts_AreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if !strings.Contains(string(page), "`"+p.key) {
			t.Errorf("docs/configuration.md does not explain %s", p.key)
		}
	}
}
