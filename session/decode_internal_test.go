package session

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

// exampleRecord is a record as most are.
func exampleRecord() record {
	at := time.Date(2026, 11, 29, 10, 20, 30, 123456789, time.UTC)
	return record{Session: Session{ID: "0123456789abcdef0123456789abcdef", User: "fedcba9876543210fedcba9876543210", Epoch: 3, UserName: "alice@example.com", Subject: "2f1c9c1e",
		ProviderSession: "8d0e", Address: "192.0.2.7", Agent: "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", Began: at, Authenticated: at, Proven: true,
		AMR: []string{"pwd", "mfa"}, Used: at.Add(time.Minute), Expires: at.Add(12 * time.Hour)}}
}

// FuzzDecodeRecord: a record is decoded as encoding/json decodes it, in whatever form it is.
func FuzzDecodeRecord(f *testing.F) {
	ended := exampleRecord()
	ended.Reason, ended.Ended = ReasonLogout, ended.Used
	escaped := exampleRecord()
	escaped.Agent = "a \"browser\" <é>"
	for _, r := range []record{exampleRecord(), ended, escaped, {}} {
		text, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, text := range []string{"", "{", "{}", "{},", `{"id":"a","id":"b"}`, `{"ID":"a"}`, `{"user":"é","agent":"` + "\xff" + `"}`, `{"epoch":01}`, `{"epoch":-0}`, `{"epoch":18446744073709551616}`,
		`{"amr":["a","b",]}`, `{"amr":[]}`, `{"amr":["a""b"]}`, `{"amr":[,"a"]}`, `{"amr":null}`, `{"began":"2026-11-29T10:20:30+01:00"}`, `{"began":"2026-11-29T24:20:30Z"}`, `{"proven":true}x`, `{"acr":"a",}`, `{,"acr":"a"}`,
		` {"id" : "a"}`, `{"id":null}`, `{"other":{"id":"a"}}`, `{"used":"0001-01-01T00:00:00Z","used":"2026-11-29T10:20:30.5Z"}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var got, want record
		failed, wanted := decodeRecord(text, &got) != nil, json.Unmarshal(text, &want) != nil
		if failed != wanted || !failed && !reflect.DeepEqual(got, want) {
			t.Errorf("%q is decoded to\n%+v (%v), by encoding/json to\n%+v (%v)", text, got, failed, want, wanted)
		}
	})
}

// TestDecodeRecord_ReadsWhatIsWritten: the records that are written for nearly all sessions need no encoding/json, so that
// a start is fast.
func TestDecodeRecord_ReadsWhatIsWritten(t *testing.T) {
	ended := exampleRecord()
	ended.Reason, ended.Ended, ended.ACR, ended.Contexts, ended.Basis, ended.BreakGlass = ReasonIdle, ended.Used, "urn:mace:silver", []string{"c1"}, "https://login.example.com", "test"
	for _, r := range []record{exampleRecord(), ended} {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var got record
		if !got.readPlain(text) || !reflect.DeepEqual(got, r) {
			t.Errorf("%s is read as %+v", text, got)
		}
	}
}

// BenchmarkDecodeRecord measures what a start does for each session.
func BenchmarkDecodeRecord(b *testing.B) {
	text, err := json.Marshal(exampleRecord())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := decodeRecord(text, new(record)); err != nil {
			b.Fatal(err)
		}
	}
}
