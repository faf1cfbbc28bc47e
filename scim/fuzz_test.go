package scim

import (
	"encoding/json"
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
	document, err := decode([]byte(`{"userName":"x","active":true,"emails":[{"type":"work","value":"x"}],"name":{"givenName":"G"},"meta":{"created":"2020-01-01T00:00:00Z"}}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range newKinds(strings.ToLower).all() {
			parsed, err := parseFilterAmong(kind, nil, text, &notes{})
			if (parsed == nil) == (err == nil) {
				t.Fatalf("parsing gives %v, %v", parsed, err)
			}
			if err != nil {
				if p := problemOf(err); p.status != 400 {
					t.Fatalf("a bad filter answers %d", p.status)
				}
				continue
			}
			_, _ = (&subject{document: document, isMember: func(string) (bool, error) { return false, nil }}).matches(parsed)
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, seed := range append(filterSeeds, "members", "emails[type eq \"work\"].value", "name.familyName", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User") {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		for _, kind := range newKinds(strings.ToLower).all() {
			if _, err := parsePath(kind, path, &notes{}); err != nil && problemOf(err).status != 400 {
				t.Fatalf("a bad path answers %d", problemOf(err).status)
			}
		}
	})
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
	user := newKinds(strings.ToLower).user
	f.Fuzz(func(t *testing.T, text string) {
		body, err := decode([]byte(text))
		if err != nil {
			return
		}
		operations, err := parsePatch(user, body, &notes{})
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
		if twice, err := patched(user, data, operations); err == nil && setsOnly(operations) && !maps.EqualFunc(once, twice, sameJSON) {
			t.Fatalf("%s gives\n%s and then\n%s", text, data, jsonOf(twice))
		}
	})
}

func patched(kind *kindOfResource, stored []byte, operations []operation) (map[string]any, error) {
	document, err := decode(stored)
	if err != nil {
		return nil, err
	}
	return document, applyPatch(kind, document, operations, &notes{})
}

func speaksOfActive(operations []operation) bool {
	for _, o := range operations {
		if o.target.attribute == nil || o.target.attribute.name == "active" {
			return true
		}
	}
	return false
}

// setsOnly: operations after which the same operations have nothing left to do.
// Filters are left out: what an operation changes may be what a filter looks at.
func setsOnly(operations []operation) bool {
	seen := map[string]bool{}
	for _, o := range operations {
		if o.target.attribute == nil || o.target.where != nil || seen[o.target.attribute.name] {
			return false
		}
		seen[o.target.attribute.name] = true
	}
	return true
}
