package directory

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDerive_ReadsDocument(t *testing.T) {
	for name, c := range map[string]struct {
		document string
		want     Derived
	}{
		"no document":          {``, Derived{DisplayName: "user"}},
		"an empty document":    {`{}`, Derived{DisplayName: "user"}},
		"invalid JSON":         {`{"displayName":`, Derived{DisplayName: "user"}},
		"an array":             {`["displayName"]`, Derived{DisplayName: "user"}},
		"names in other case":  {`{"Roles":[{"value":"r"}],"DISPLAYNAME":"D"}`, Derived{DisplayName: "user"}},
		"names further inside": {`{"x":{"displayName":"D","roles":[{"value":"r"}]},"title":"displayName"}`, Derived{DisplayName: "user"}},
		"displayName":          {`{"displayName":"D","name":{"formatted":"F"}}`, Derived{DisplayName: "D"}},
		"formatted name":       {`{"name":{"formatted":"F"}}`, Derived{DisplayName: "F"}},
		"no name":              {`{"name":null,"displayName":null}`, Derived{DisplayName: "user"}},
		"first address":        {`{"emails":[{"value":"a"},{"value":"b"}]}`, Derived{DisplayName: "user", Email: "a", Emails: []string{"a", "b"}}},
		"work address":         {`{"emails":[{"value":"a","type":"home"},{"value":"b","type":"work"}]}`, Derived{DisplayName: "user", Email: "b", Emails: []string{"a", "b"}}},
		"first work address":   {`{"emails":[{"value":"a","type":"work"},{"value":"b","type":"work"}]}`, Derived{DisplayName: "user", Email: "a", Emails: []string{"a", "b"}}},
		"primary address":      {`{"emails":[{"value":"a","type":"work"},{"value":"b","primary":true}]}`, Derived{DisplayName: "user", Email: "b", Emails: []string{"a", "b"}}},
		"address without value": {`{"emails":[{"type":"work","primary":true},{"value":"b"}]}`,
			Derived{DisplayName: "user", Email: "b", Emails: []string{"b"}}},
		"values of other types": {`{"displayName":1,"name":"x","emails":[1,{"value":2},{"value":"a","primary":"true","type":3}],"roles":{"value":"r"}}`,
			Derived{DisplayName: "user", Email: "a", Emails: []string{"a"}}},
		"roles":                {`{"roles":[{"value":"reader"},{"value":""},{"value":"auditor"}]}`, Derived{DisplayName: "user", Roles: []string{"reader", "auditor"}}},
		"role in a JSON value": {`{"roles":[{"value":"{\"id\":\"1\",\"value\":\"auditor\",\"displayName\":\"Auditor\"}"}]}`, Derived{DisplayName: "user", Roles: []string{"auditor"}}},
		"role that begins like JSON": {`{"roles":[{"value":"{auditor"}]}`,
			Derived{DisplayName: "user", Roles: []string{"{auditor"}}},
		"role in a JSON value that has none": {`{"roles":[{"value":"{}"}]}`, Derived{DisplayName: "user"}},
	} {
		t.Run(name, func(t *testing.T) {
			u := User{UserName: "user", Document: json.RawMessage(c.document)}
			u.derive()
			if !reflect.DeepEqual(u.Derived, c.want) {
				t.Errorf("derived %+v, want %+v", u.Derived, c.want)
			}
		})
	}
}

// anyValue draws a JSON value that a document may have at an attribute, of the
// right type or of another.
func anyValue(t *rapid.T, depth int) any {
	kinds := []string{"string", "true", "false", "null", "number", "list", "object"}
	if depth == 0 {
		kinds = kinds[:5]
	}
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "string":
		return rapid.SampledFrom([]string{"", "a", "work", `{"value":"x"}`, "{"}).Draw(t, "text")
	case "true":
		return true
	case "false":
		return false
	case "number":
		return 1.5
	case "list":
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "length") {
			list = append(list, anyValue(t, depth-1))
		}
		return list
	case "object":
		object := map[string]any{}
		for _, name := range rapid.SliceOfN(rapid.SampledFrom([]string{"value", "type", "primary", "formatted", "x"}), 0, 4).Draw(t, "names") {
			object[name] = anyValue(t, depth-1)
		}
		return object
	}
	return nil
}

// derivedFrom is what derive must compute, from a document decoded as a whole.
func derivedFrom(document map[string]any) Derived {
	d := Derived{}
	name, _ := document["name"].(map[string]any)
	for _, value := range []any{document["displayName"], name["formatted"], "user"} {
		if text, _ := value.(string); text != "" && d.DisplayName == "" {
			d.DisplayName = text
		}
	}
	d.Email, d.Emails = emailsOf(elementsIn(document["emails"]))
	d.Roles = rolesOf(elementsIn(document["roles"]))
	return d
}

func elementsIn(attribute any) (list []element) {
	values, _ := attribute.([]any)
	for _, value := range values {
		if members, ok := value.(map[string]any); ok {
			text, _ := members["value"].(string)
			list = append(list, element{text, members["type"] == "work", members["primary"] == true})
		}
	}
	return list
}

// TestDerive_EqualsDecodingWholeDocument compares derive, which decodes single
// attributes, with a function that decodes the whole document.
func TestDerive_EqualsDecodingWholeDocument(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		document := map[string]any{}
		for _, name := range rapid.SliceOfN(rapid.SampledFrom([]string{"displayName", "name", "emails", "roles", "title", "Roles", `a"\b`}), 0, 5).Draw(t, "attributes") {
			document[name] = anyValue(t, 3)
		}
		marshal := json.Marshal
		if rapid.Bool().Draw(t, "indented") {
			marshal = func(v any) ([]byte, error) { return json.MarshalIndent(v, "\t", " ") }
		}
		text, err := marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		u := User{UserName: "user", Document: text}
		u.derive()
		if want := derivedFrom(document); !reflect.DeepEqual(u.Derived, want) {
			t.Fatalf("%s gives %+v, want %+v", text, u.Derived, want)
		}
	})
}

// FuzzDerive makes the comparison of TestDerive_EqualsDecodingWholeDocument for any text.
func FuzzDerive(f *testing.F) {
	for _, text := range []string{``, `{}`, `{"displayName":"D"}`, `{"emails":[{"value":"a"}]`, `{"a":"\"","roles":[{"value":"r"}]}`, `[{"roles":1}]`, `{"roles"`, `{"x":{"roles":[{"value":"r"}]}}`, `"\`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		u := User{UserName: "user", Document: text}
		u.derive()
		var document map[string]any
		if json.Unmarshal(text, &document) != nil || bytes.Contains(text, []byte(`\u`)) {
			return // not a JSON object, or names that json.Marshal spells otherwise: derive must only not panic
		}
		if want := derivedFrom(document); !reflect.DeepEqual(u.Derived, want) {
			t.Errorf("%s gives %+v, want %+v", text, u.Derived, want)
		}
	})
}

// TestUser_IgnoresStoredDerivedFields reads a record of version 0.1, which stored
// derived fields.
func TestUser_IgnoresStoredDerivedFields(t *testing.T) {
	const record = `{"id":"00000000000000000000000000000001","externalId":"x","userName":"user","displayName":"Old","email":"old@example.com",
		"emails":["old@example.com"],"active":true,"epoch":7,"ended":"2026-01-02T03:04:05Z","roles":["old"],
		"document":{"displayName":"New","emails":[{"value":"new@example.com"}],"roles":[{"value":"new"}]},"version":3,
		"created":"2026-01-01T00:00:00Z","modified":"2026-01-02T00:00:00Z"}`
	u := newUser("00000000000000000000000000000001", []byte(record), nil)
	want := Derived{DisplayName: "New", Email: "new@example.com", Emails: []string{"new@example.com"}, Roles: []string{"new"}}
	if u.Damaged || !reflect.DeepEqual(u.Derived, want) {
		t.Errorf("read %+v, damaged: %v", u.Derived, u.Damaged)
	}
	if !u.Active || u.Epoch != 7 || u.Version != 3 || !u.DeactivatedAt.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("read %+v", u)
	}
	encoded, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	var stored map[string]any
	if err := json.Unmarshal(encoded, &stored); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"displayName", "email", "emails", "roles"} {
		if _, ok := stored[name]; ok {
			t.Errorf("the derived field %s is stored", name)
		}
	}
}

// BenchmarkNewUser decodes one record, as Open does for each user.
func BenchmarkNewUser(b *testing.B) {
	id := newID(time.Now())
	document := `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"user000001@example.com","externalId":"00000000-0000-4000-8000-000000000001","displayName":"User 1","active":true,"emails":[{"type":"work","value":"user000001@example.com","primary":true}],"name":{"givenName":"Given","familyName":"Family"},"title":"Engineer"}`
	record, err := json.Marshal(User{ID: id, ExternalID: "00000000-0000-4000-8000-000000000001", UserName: "user000001@example.com", Active: true,
		Document: json.RawMessage(document), Version: 1, Created: time.Unix(1, 0), Modified: time.Unix(2, 0)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if u := newUser(id, record, nil); u.Damaged {
			b.Fatal("damaged")
		}
	}
}
