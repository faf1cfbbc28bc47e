package session

import (
	"encoding/json"
	"reflect"
	"strings"
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

// FuzzHostOf: the host in a token is decoded as encoding/json decodes it, in whatever form the token is.
func FuzzHostOf(f *testing.F) {
	for _, text := range []string{`{"host":"app.example.com","made":"2026-11-29T10:20:30.5Z"}`, `{"host":"é","made":"2026-11-29T10:20:30+01:00"}`, "", "{}", `{"host":"a"}`, `{"HOST":"a"}`, `{"host":"a","host":"b"}`, `{"host":null}`, `{"host":1}`,
		`{"host":"a","made":null}`, `{"host":"a","made":"x"}`, `{"host":"a","other":1}`, `{"host":"a"}x`, ` {"host" : "a\u0062"}`, `{"host":"a",}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		host, err := hostOf(text)
		var want tokenRecord
		if wanted := json.Unmarshal(text, &want); (err != nil) != (wanted != nil) || err == nil && host != want.Host {
			t.Errorf("%q has the host %q, %v, by encoding/json %q, %v", text, host, err, want.Host, wanted)
		}
	})
}

// FuzzKeys: only the key that is made for a record is its key, and for a token.
func FuzzKeys(f *testing.F) {
	f.Add("session/of/u/a", "u", "a")
	f.Add("session/of/u/b/a", "u/b", "a")
	f.Add("session/of//", "", "")
	f.Add("session/of/", "", "")
	f.Add("session/of", "", "f")
	f.Add("session/grant/a/"+strings.Repeat("0f", 32), "", "a")
	f.Add("session/grant/a/"+strings.Repeat("0F", 32), "", "a")
	f.Add("session/grant/a/"+strings.Repeat("0f", 31)+"0", "", "a")
	f.Fuzz(func(t *testing.T, key, user, id string) {
		r := record{Session: Session{User: user, ID: id}}
		if is := r.isAt([]byte(key)); is != (key == string(recordKey(user, id))) || !r.isAt(recordKey(user, id)) {
			t.Errorf("%q is the key of user %q, session %q: %v", key, user, id, is)
		}
		session, d, ok := parseTokenKey(prefixToken, []byte(key))
		if made := strings.ToLower(string(tokenKey(prefixToken, string(session), d))); ok && made != strings.ToLower(key) && strings.HasPrefix(key, prefixToken) {
			t.Errorf("%q is parsed as %q", key, made)
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
