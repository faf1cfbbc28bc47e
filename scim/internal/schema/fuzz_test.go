package schema

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// The corpora are in testdata/fuzz; each file is named for what it shows.

// FuzzFilter parses any filter for each resource type and evaluates it: it never panics, what it rejects is an
// [Error], and not ( … ) is the opposite of what it negates.
func FuzzFilter(f *testing.F) {
	document := mustDecode(f, subjectDocument)
	subject := &Subject{Document: document, IsMember: func(id string) (bool, error) { return id == "a", nil }, Members: iter.Seq2[map[string]any, error](
		func(yield func(map[string]any, error) bool) {
			_ = yield(map[string]any{"value": "a", "type": "User"}, nil) && yield(map[string]any{"value": "b", "type": "Group"}, nil)
		})}
	f.Fuzz(func(t *testing.T, text string) {
		_ = RedactFilter(text)
		for _, rt := range testTypes.All() {
			filter, err := ParseFilter(rt, testTypes.All(), text, &Quirks{})
			if err != nil {
				if filter != nil || !rejects(err) {
					t.Fatalf("parsing %q gives %v, %v", text, filter, err)
				}
				continue
			}
			matches, err := filter.Matches(subject)
			if err != nil {
				t.Fatalf("evaluating %q: %v", text, err)
			}
			negated, err := ParseFilter(rt, testTypes.All(), "not ("+text+")", &Quirks{})
			if err != nil {
				continue // it is too deep or too long now
			}
			if opposite, err := negated.Matches(subject); err != nil || opposite == matches {
				t.Fatalf("%q and its opposite match: %t, %t, %v", text, matches, opposite, err)
			}
		}
	})
}

// FuzzPath parses any path for each resource type: it gives a path, an [Error], or counts an unknown attribute.
func FuzzPath(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		for _, rt := range testTypes.All() {
			var quirks Quirks
			path, err := ParsePath(rt, text, &quirks)
			switch {
			case err != nil && (path != nil || !rejects(err)):
				t.Fatalf("%q gives %v, %v", text, path, err)
			case err == nil && (path == nil) != (quirks.Counts[QuirkUnknownAttribute] > 0):
				t.Fatalf("%q gives %v and the quirks %v", text, path, quirks.Counts)
			}
		}
	})
}

// rejects reports whether err is an [Error], hence a response with status 400.
func rejects(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

// FuzzPatch applies any PATCH to a user: it never panics, what it rejects is an [Error], applying it again changes
// nothing, the result is canonical, and nobody is activated unless the PATCH says so.
func FuzzPatch(f *testing.F) {
	const stored = `{"userName":"x","active":false,"emails":[{"type":"work","value":"a","primary":true}],"name":{"familyName":"F"}}`
	f.Fuzz(func(t *testing.T, text string) {
		body, err := Decode([]byte(text))
		if err != nil {
			return
		}
		operations, err := ParsePatch(testTypes.User, body, &Quirks{})
		if err != nil {
			if operations != nil || !rejects(err) {
				t.Fatalf("parsing %s gives %v, %v", text, operations, err)
			}
			return
		}
		once := mustDecode(t, stored)
		if err := ApplyPatch(testTypes.User, once, operations, &Quirks{}); err != nil {
			if !rejects(err) {
				t.Fatalf("applying %s: %v", text, err)
			}
			return
		}
		if once["active"] == true && !setsActive(operations) {
			t.Fatalf("%s activates", text)
		}
		if canonical, err := Normalize(testTypes.User, once, nil); err != nil || !maps.EqualFunc(once, canonical, equalJSON) {
			t.Fatalf("%s gives\n%s, whose canonical form is\n%s, %v", text, jsonOf(once), jsonOf(canonical), err)
		}
		twice := mustDecode(t, jsonOf(once))
		if err := ApplyPatch(testTypes.User, twice, operations, &Quirks{}); err == nil && isRepeatable(operations) && !maps.EqualFunc(once, twice, equalJSON) {
			t.Fatalf("%s gives\n%s and then\n%s", text, jsonOf(once), jsonOf(twice))
		}
	})
}

// setsActive reports whether an operation is about active. One without an attribute is about a whole extension.
func setsActive(operations []Operation) bool {
	for _, o := range operations {
		if o.Path.Attribute != nil && o.Path.Attribute.Name == "active" {
			return true
		}
	}
	return false
}

// isRepeatable reports whether the operations have nothing left to do once they were applied. It is false for filters,
// since an operation may change what a filter looks at.
func isRepeatable(operations []Operation) bool {
	seen := map[string]bool{}
	for _, o := range operations {
		if o.Path.Attribute == nil || o.Path.Filter != nil || seen[o.Path.Attribute.Name] {
			return false
		}
		seen[o.Path.Attribute.Name] = true
	}
	return true
}

// FuzzDecode: an object that is decoded at once is the one that is decoded part by part, and so is an error.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{`{"a":{"b":[1,"x:y",null,{"c":true}]}}`, `{"a":1,"A":2}`, `{"a":1,"\u0061":2}`, `{"a":{"x":1,"y":2},"a":3}`, `{"a":"\\\":"}`, `null`, `{} `, `{}x`, `{"a":`,
		strings.Repeat(`{"a":`, maxDepth+1) + `1` + strings.Repeat(`}`, maxDepth+1), strings.Repeat(`{"a":`, maxDepth) + `[]` + strings.Repeat(`}`, maxDepth)} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !utf8.Valid(text) || bytes.HasPrefix(text, []byte(byteOrderMark)) {
			return
		}
		got, gotErr := Decode(text)
		want, wantErr := decodeText(bytes.NewReader(text), false)
		if !reflect.DeepEqual(got, want) || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
			t.Errorf("%q: %v, %v; want %v, %v", text, got, gotErr, want, wantErr)
		}
	})
}
