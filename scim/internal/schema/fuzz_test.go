package schema

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
)

var filterSeeds = []string{
	`userName eq "x"`, `emails[type eq "work"].value eq "x"`, `not (active eq "True") and (a or b)`, `members[value eq"x"]`,
	`urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value pr`, `name.`, `"`, `((((`, `a[b[c]]`, `active eq null`, `meta.created gt "2020-01-01T00:00:00Z"`,
}

func FuzzFilter(f *testing.F) {
	for _, seed := range filterSeeds {
		f.Add(seed)
	}
	document, err := Decode([]byte(`{"userName":"x","active":true,"emails":[{"type":"work","value":"x"}],"name":{"givenName":"G"},"meta":{"created":"2020-01-01T00:00:00Z"}}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range New(strings.ToLower).All() {
			parsed, err := ParseFilter(kind, nil, text, &Quirks{})
			if (parsed == nil) == (err == nil) {
				t.Fatalf("parsing gives %v, %v", parsed, err)
			}
			if err != nil {
				if !rejects(err) {
					t.Fatalf("a bad filter gives %v", err)
				}
				continue
			}
			_, _ = parsed.Matches(&Subject{Document: document, IsMember: func(string) (bool, error) { return false, nil }})
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, seed := range append(filterSeeds, "members", "emails[type eq \"work\"].value", "name.familyName", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User") {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		for _, kind := range New(strings.ToLower).All() {
			if _, err := ParsePath(kind, path, &Quirks{}); err != nil && !rejects(err) {
				t.Fatalf("a bad path gives %v", err)
			}
		}
	})
}

// rejects reports whether err is an [Error], hence a response with status 400.
func rejects(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

// FuzzPatch applies any PATCH to a user: it never panics, applying it again
// changes nothing, and nobody is activated who is not asked to be.
func FuzzPatch(f *testing.F) {
	for _, seed := range []string{
		`{"Operations":[{"op":"Replace","path":"emails[type eq \"work\"].value","value":"b"}]}`,
		`{"Operations":[{"op":"add","value":{"name.givenName":"x","active":"False"}}]}`,
		`{"Operations":[{"op":"Remove","path":"emails","value":[{"value":"a"}]},{"op":"add","path":"emails","value":"c"}]}`,
		`{"Operations":[{"op":"replace","path":"active","value":[{"value":"true"}]}]}`,
		`{"Operations":[{"op":"replace","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User","value":{"manager":""}}]}`,
		`{"Operations":[{"op":"add","path":"roles[primary eq \"True\"].value","value":"v"}]}`,
	} {
		f.Add(seed)
	}
	const stored = `{"userName":"x","active":false,"emails":[{"type":"work","value":"a","primary":true}],"name":{"familyName":"F"}}`
	user := New(strings.ToLower).User
	f.Fuzz(func(t *testing.T, text string) {
		body, err := Decode([]byte(text))
		if err != nil {
			return
		}
		operations, err := ParsePatch(user, body, &Quirks{})
		if err != nil {
			return
		}
		once, err := patched(user, []byte(stored), operations)
		if err != nil {
			return
		}
		if once["active"] == true && !speaksOfActive(operations) {
			t.Fatalf("%s activates", text)
		}
		data, err := json.Marshal(once)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := patched(user, data, operations); err == nil && setsOnly(operations) && !maps.EqualFunc(once, twice, equalJSON) {
			t.Fatalf("%s gives\n%s and then\n%s", text, data, jsonOf(twice))
		}
	})
}

func patched(kind *ResourceType, stored []byte, operations []Operation) (map[string]any, error) {
	document, err := Decode(stored)
	if err != nil {
		return nil, err
	}
	return document, ApplyPatch(kind, document, operations, &Quirks{})
}

func speaksOfActive(operations []Operation) bool {
	for _, o := range operations {
		if o.Path.Attribute == nil || o.Path.Attribute.Name == "active" {
			return true
		}
	}
	return false
}

// setsOnly: operations after which the same operations have nothing left to do.
// Filters are left out: what an operation changes may be what a filter looks at.
func setsOnly(operations []Operation) bool {
	seen := map[string]bool{}
	for _, o := range operations {
		if o.Path.Attribute == nil || o.Path.Filter != nil || seen[o.Path.Attribute.Name] {
			return false
		}
		seen[o.Path.Attribute.Name] = true
	}
	return true
}
