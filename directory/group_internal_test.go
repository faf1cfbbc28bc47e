package directory

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

// exampleGroup is a group as most are.
func exampleGroup() Group {
	at := time.Date(2026, 11, 29, 10, 20, 30, 123456789, time.UTC)
	return Group{ID: "0123456789abcdef0123456789abcdef", ExternalID: "61503835-0000-0000-0000-000000000001", DisplayName: "Members", Members: 12, Version: 7, Created: at, Modified: at,
		Document: json.RawMessage(`{"displayName":"Members \"A\" {é}"}`)}
}

// FuzzDecodeGroup: a group is decoded as encoding/json decodes it, in whatever form it is, but for the document.
func FuzzDecodeGroup(f *testing.F) {
	for _, g := range []Group{exampleGroup(), {}} {
		text, err := json.Marshal(g)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, text := range []string{"", "{", "{}", `{"document":{}}`, `{"document":{"a":}}`, `{"document":[]}`, `{"Members":1}`, `{"members":-1}`, `{"members":9223372036854775807}`, `{"members":9223372036854775808}`,
		`{"members":1,"members":2}`, `{"displayName":"\u0061"}`, `{"displayName":null}`, `{"created":""}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var got, want Group
		failed, wanted := decodeGroup(text, &got) != nil, json.Unmarshal(text, &want) != nil
		want.Document = nil
		if failed != wanted || !failed && !reflect.DeepEqual(got, want) {
			t.Errorf("%q is decoded to\n%+v (%v), by encoding/json to\n%+v (%v)", text, got, failed, want, wanted)
		}
	})
}

// TestDecodeGroup_ReadsWhatIsWritten: the records that are written for nearly all groups need no encoding/json, so that a
// start is fast.
func TestDecodeGroup_ReadsWhatIsWritten(t *testing.T) {
	want := exampleGroup()
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Group
	if want.Document = nil; !got.readPlain(text) || !reflect.DeepEqual(got, want) {
		t.Errorf("%s is read as %+v", text, got)
	}
}
