package directory

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

// exampleUser is a user as most are.
func exampleUser() User {
	at := time.Date(2026, 11, 29, 10, 20, 30, 123456789, time.UTC)
	return User{ID: "0123456789abcdef0123456789abcdef", ExternalID: "61503835-0000-0000-0000-000000000001", UserName: "alice@example.com", Active: true, Version: 7, Created: at, Modified: at,
		Document: json.RawMessage(`{"displayName":"Alice \"A\" {é}","name":{"familyName":"Example"},"emails":[{"type":"work","value":"alice@example.com","primary":true}],"title":"Engineer"}`)}
}

// FuzzDecodeUser: a user is decoded as encoding/json decodes it, in whatever form it is.
func FuzzDecodeUser(f *testing.F) {
	former := exampleUser()
	former.Active, former.Epoch, former.DeactivatedAt = false, 3, former.Modified
	for _, u := range []User{exampleUser(), former, {}} {
		text, err := json.Marshal(u)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, text := range []string{"", "{", "{}", `{"document":{}}`, `{"document":{"a":"}"}}`, `{"document":{"a":}}`, `{"document":{"a":[}]}`, `{"document":{"a":"\"}"},"id":"a"}`, `{"document":[]}`, `{"document":null}`,
		`{"document":{"a":1},"document":{}}`, `{"Document":{"a":1}}`, `{"active":true,"active":false}`, `{"version":1.0}`, `{"version":1e3}`, `{"version":12345678901234567890}`, `{"userName":"\u0061"}`, `{"ended":""}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var got, want User
		failed, wanted := decodeUser(text, &got) != nil, json.Unmarshal(text, &want) != nil
		want.derive()
		if failed != wanted || !failed && !reflect.DeepEqual(got, want) {
			t.Errorf("%q is decoded to\n%+v (%v), by encoding/json to\n%+v (%v)", text, got, failed, want, wanted)
		}
	})
}

// TestDecodeUser_ReadsWhatIsWritten: the records that are written for nearly all users need no encoding/json, so that a
// start is fast.
func TestDecodeUser_ReadsWhatIsWritten(t *testing.T) {
	former := exampleUser()
	former.Active, former.Epoch, former.DeactivatedAt = false, 3, former.Modified
	for _, u := range []User{exampleUser(), former} {
		text, err := json.Marshal(u)
		if err != nil {
			t.Fatal(err)
		}
		var got User
		if !got.readPlain(text) || !reflect.DeepEqual(got, u) {
			t.Errorf("%s is read as %+v", text, got)
		}
	}
}

// BenchmarkDecodeUser measures what a start does for each user.
func BenchmarkDecodeUser(b *testing.B) {
	text, err := json.Marshal(exampleUser())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := decodeUser(text, new(User)); err != nil {
			b.Fatal(err)
		}
	}
}
