package schema

import (
	"fmt"
	"strings"
	"testing"
)

func TestNormalize(t *testing.T) {
	for _, x := range []struct{ body, want, quirks string }{
		{`{}`, `{}`, ""},
		{`{"userName":"Ann","active":true,"name":{"givenName":"A"}}`, `{"userName":"Ann","active":true,"name":{"givenName":"A"}}`, ""},
		{`{"USERNAME":"Ann","NAME":{"GIVENNAME":"A"}}`, `{"userName":"Ann","name":{"givenName":"A"}}`, ""},
		{`{"SCHEMAS":["x"],"userName":"a"}`, `{"userName":"a"}`, ""},
		{`{"$U:userName":"Ann"}`, `{"userName":"Ann"}`, ""},

		// What is not in the schema, or not for clients to set, goes.
		{`{"foo":1,"name":{"foo":1,"givenName":"A"},"name.foo":1,"userName.x":1}`, `{"name":{"givenName":"A"}}`, "unknown_attribute"},
		{`{"name":{"foo":1}}`, `{}`, "unknown_attribute"},
		{`{"urn:other:User":{"a":1},"URN:other:b":1}`, `{}`, "unknown_extension"},
		{`{"urn:":"x"}`, `{}`, "unknown_extension"},
		{`{"urn":"x"}`, `{}`, "unknown_attribute"},
		{`{"id":"x","meta":{"created":"x"},"groups":[{"value":"x"}],"meta.version":"x"}`, `{}`, "read_only_ignored"},
		{`{"password":"hunter2"}`, `{}`, ""},
		{`{"$E":{"manager":{"value":"M","displayName":"Boss"}}}`, `{"$E":{"manager":{"value":"M"}}}`, ""},

		// Dotted names.
		{`{"name.givenName":"A","name.familyName":"B"}`, `{"name":{"givenName":"A","familyName":"B"}}`, "dotted_key"},
		{`{"name":{"givenName":"A"},"name.familyName":"B"}`, `{"name":{"givenName":"A","familyName":"B"}}`, "dotted_key"},
		{`{"name.givenName":""}`, `{}`, "dotted_key,empty_string"},
		{`{"emails.value":"a"}`, `{"emails":[{"value":"a"}]}`, "dotted_key,single_for_many"},
		{`{"$E:manager.value":"M"}`, `{"$E":{"manager":{"value":"M"}}}`, "dotted_key"},

		// Extensions.
		{`{"$E":{"department":"D"}}`, `{"$E":{"department":"D"}}`, ""},
		{`{"$E":{"DEPARTMENT":"D"},"$X":{"Badge":"B"}}`, `{"$E":{"department":"D"},"$X":{"badge":"B"}}`, ""},
		{`{"$E:department":"D","$E":{"division":"V"}}`, `{"$E":{"department":"D","division":"V"}}`, ""},
		{`{"department":"D","manager":"M"}`, `{"$E":{"department":"D","manager":{"value":"M"}}}`, "bare_extension,bare_value"},
		{`{"$E":null,"$X":""}`, `{}`, ""},
		{`{"$E":{}}`, `{}`, ""},
		{`{"$E":{"department":null}}`, `{}`, ""},
		{`{"$E":{"foo":1}}`, `{}`, "unknown_attribute"},
		{`{"$X":{"title":"T"},"title":"U"}`, `{"$X":{"title":"T"},"title":"U"}`, ""},

		// A dot for the last colon of a URN.
		{`{"$E.employeeNumber":"7","$U.title":"T"}`, `{"title":"T","$E":{"employeeNumber":"7"}}`, "dotted_urn"},
		{`{"$E.manager.value":"M"}`, `{"$E":{"manager":{"value":"M"}}}`, "dotted_key,dotted_urn"},
		{`{"$E.nothing":"7","$E.":"x"}`, `{}`, "unknown_attribute"},

		// The core schema's attributes below its URN.
		{`{"$U":{"TITLE":"T","active":"False","name.givenName":"A"}}`, `{"title":"T","active":false,"name":{"givenName":"A"}}`, "boolean_string,core_object,dotted_key"},
		{`{"$U":{"department":"D","$U":{"title":"T"}}}`, `{}`, "core_object,unknown_attribute"},
		{`{"$U":null}`, `{}`, ""},

		// Two names of one attribute.
		{`{"title":"T","$U:title":"T","$U.title":["T"]}`, `{"title":"T"}`, "array_of_one,dotted_urn"},
		{`{"title":"T","$U:title":""}`, `{"title":"T"}`, "empty_string"},
		{`{"active":null,"$U:active":true}`, `{"active":true}`, ""},

		// Texts.
		{`{"title":7,"nickName":true}`, `{"title":"7","nickName":"true"}`, "number_string"},
		{`{"title":"","nickName":null}`, `{}`, "empty_string"},
		{`{"title":["T"]}`, `{"title":"T"}`, "array_of_one"},
		{`{"title":[]}`, `{}`, ""},
		{`{"title":[null]}`, `{}`, "array_of_one"},
		{`{"title":{"value":"T"}}`, `{"title":"T"}`, "wrapped_value"},
		{`{"title":{"$ref":null,"VALUE":["T"]}}`, `{"title":"T"}`, "array_of_one,wrapped_value"},
		{`{"title":{"value":null}}`, `{}`, "wrapped_value"},

		// Booleans.
		{`{"active":false}`, `{"active":false}`, ""},
		{`{"active":"True"}`, `{"active":true}`, "boolean_string"},
		{`{"active":"fALSE"}`, `{"active":false}`, "boolean_string"},
		{`{"active":""}`, `{}`, "empty_string"},
		{`{"active":null}`, `{}`, ""},

		// Numbers.
		{`{"$X":{"floor":3,"rate":1.50}}`, `{"$X":{"floor":3,"rate":1.50}}`, ""},
		{`{"$X":{"floor":"3"}}`, `{"$X":{"floor":3}}`, "number_text"},
		{`{"$X":{"rate":"1.5e3"}}`, `{"$X":{"rate":1.5e3}}`, "number_text"},
		{`{"$X":{"floor":"","rate":null}}`, `{}`, "empty_string"},
		{`{"$X":{"floor":9223372036854775807}}`, `{"$X":{"floor":9223372036854775807}}`, ""},

		// Times.
		{`{"$X":{"since":"2026-01-02T03:04:05Z"}}`, `{"$X":{"since":"2026-01-02T03:04:05Z"}}`, ""},
		{`{"$X":{"since":"2026-01-02T03:04:05.250+02:00"}}`, `{"$X":{"since":"2026-01-02T01:04:05.25Z"}}`, ""},
		{`{"$X":{"since":"2026-01-02T03:04:05"}}`, `{"$X":{"since":"2026-01-02T03:04:05Z"}}`, ""},
		{`{"$X":{"since":""}}`, `{}`, "empty_string"},

		// Base64 of either alphabet, with padding and line breaks or without.
		{`{"$X":{"blob":"AQID"}}`, `{"$X":{"blob":"AQID"}}`, ""},
		{`{"$X":{"blob":"AQ=="}}`, `{"$X":{"blob":"AQ=="}}`, ""},
		{`{"$X":{"blob":"AQ"}}`, `{"$X":{"blob":"AQ"}}`, ""},
		{`{"$X":{"blob":"-_8"}}`, `{"$X":{"blob":"-_8"}}`, ""},
		{`{"$X":{"blob":"+/8="}}`, `{"$X":{"blob":"+/8="}}`, ""},
		{`{"$X":{"blob":"AQ\r\n ID\t"}}`, `{"$X":{"blob":"AQ\r\n ID\t"}}`, ""},
		{`{"$X":{"blob":""}}`, `{}`, "empty_string"},

		// Complex values.
		{`{"name":null}`, `{}`, ""},
		{`{"name":""}`, `{}`, "empty_string"},
		{`{"name":{}}`, `{}`, ""},
		{`{"name":[{"givenName":"A"}]}`, `{"name":{"givenName":"A"}}`, "array_of_one"},
		{`{"name":{"givenName":""}}`, `{}`, "empty_string"},
		{`{"$E":{"manager":""}}`, `{}`, "empty_string"},
		{`{"$E":{"manager":{"$ref":"../Users/M"}}}`, `{}`, ""}, // nothing but a reference

		// Multi-valued attributes.
		{`{"emails":[{"value":"a","type":"work"},{"value":"b","primary":"TRUE"}]}`, `{"emails":[{"value":"a","type":"work"},{"value":"b","primary":true}]}`, "boolean_string"},
		{`{"emails":{"value":"a"}}`, `{"emails":[{"value":"a"}]}`, "single_for_many"},
		{`{"emails":"a"}`, `{"emails":[{"value":"a"}]}`, "bare_value,single_for_many"},
		{`{"emails":["a",null,{"type":"work"},{}]}`, `{"emails":[{"value":"a"}]}`, "bare_value"},
		{`{"emails":null,"roles":"","ims":[]}`, `{}`, ""},
		{`{"emails":[null]}`, `{}`, ""},
		{`{"emails":[""]}`, `{}`, "empty_string"},
		{`{"emails":[{"type":"work","primary":true,"$ref":"x"}]}`, `{}`, "unknown_attribute"},
		{`{"addresses":[{"type":"work","country":"US"},{"type":"home","primary":true}]}`, `{"addresses":[{"type":"work","country":"US"}]}`, ""},
		{`{"$X":{"sites":["a","b","a"]}}`, `{"$X":{"sites":["a","b"]}}`, "same_value_twice"},
		{`{"$X":{"sites":"a"}}`, `{"$X":{"sites":["a"]}}`, "single_for_many"},
		{`{"$X":{"sites":[{"value":"a"}]}}`, `{"$X":{"sites":["a"]}}`, "wrapped_value"},

		// Equal elements become one; of several primary ones the last stays.
		{`{"emails":[{"value":"a","type":"work"},{"value":"a","type":"work","display":"A"}]}`, `{"emails":[{"value":"a","type":"work","display":"A"}]}`, "same_value_twice"},
		{`{"emails":[{"value":"a","type":"work"},{"value":"a","type":"home"},{"value":"a"}]}`, `{"emails":[{"value":"a","type":"work"},{"value":"a","type":"home"},{"value":"a"}]}`, ""},
		{`{"addresses":[{"country":"US"},{"country":"US"},{"country":"UK"}]}`, `{"addresses":[{"country":"US"},{"country":"UK"}]}`, "same_value_twice"},
		{`{"emails":[{"value":"a","primary":true},{"value":"b"},{"value":"c","primary":true},{"value":"d"}]}`,
			`{"emails":[{"value":"a","primary":false},{"value":"b"},{"value":"c","primary":true},{"value":"d"}]}`, "primary_twice"},
		{`{"emails":[{"value":"a","primary":true},{"value":"b","primary":true},{"value":"c","primary":true}]}`,
			`{"emails":[{"value":"a","primary":false},{"value":"b","primary":false},{"value":"c","primary":true}]}`, "primary_twice"},
	} {
		body := mustDecode(t, x.body)
		if _, ok := Member(body, "schemas"); !ok {
			body["schemas"] = []any{UserURN}
		}
		var quirks Quirks
		got, err := Normalize(testTypes.User, body, &quirks)
		if err != nil || !sameAs(t, got, x.want) || quirks.names() != x.quirks {
			t.Errorf("%s is %s, %v with the quirks %q, want %s with %q", x.body, jsonOf(got), err, quirks.names(), x.want, x.quirks)
		}
	}
	var quirks Quirks
	if _, err := Normalize(testTypes.User, mustDecode(t, `{"userName":"a"}`), &quirks); err != nil || quirks.names() != "missing_schemas" {
		t.Errorf("without schemas there are the quirks %q, %v", quirks.names(), err)
	}
	if _, err := Normalize(testTypes.User, mustDecode(t, `{"title":7}`), nil); err != nil {
		t.Errorf("without a count of quirks: %v", err)
	}
}

func TestNormalize_CountsEachPrimary(t *testing.T) {
	var quirks Quirks
	_, err := Normalize(testTypes.User, mustDecode(t, `{"emails":[{"value":"a","primary":true},{"value":"b","primary":true},{"value":"c","primary":true}]}`), &quirks)
	if err != nil || quirks.Counts[QuirkPrimaryTwice] != 2 {
		t.Errorf("the quirks are %v, %v", quirks.Counts, err)
	}
}

func TestNormalize_Rejects(t *testing.T) {
	for body, want := range map[string]string{
		`{"externalId":1}`:                           `externalId is a text in double quotes, not 1: it identifies, so it must not depend on how a number is written.`,
		`{"externalId":true}`:                        `externalId is a text in double quotes, not true: it identifies, so it must not depend on how a number is written.`,
		`{"externalId":[{"value":1e0}]}`:             `externalId is a text in double quotes, not 1e0: it identifies, so it must not depend on how a number is written.`,
		`{"$U:USERNAME":7}`:                          `userName is a text in double quotes, not 7: it identifies, so it must not depend on how a number is written.`,
		`{"title":"a","$U:title":"b"}`:               `title is named twice, with different values.`,
		`{"active":true,"$U:active":false}`:          `active is named twice, with different values.`,
		`{"active":true,"$U.active":""}`:             `active is named twice, with different values.`,
		`{"active":"","$U":{"active":true}}`:         `active is named twice, with different values.`,
		`{"department":"a","$E":{"department":"b"}}`: `department is named twice, with different values.`,
		`{"$U":"x"}`:                                 `$U must be an object.`,
		`{"title":["a","b"]}`:                        `title has one value, not 2.`,
		`{"title":{}}`:                               `title is a plain value, not an object.`,
		`{"title":[["a"]]}`:                          `title is a text.`,
		`{"title":{"value":{"value":{"x":1}}}}`:      `title is a plain value, not an object.`,
		`{"active":"yes"}`:                           `active is true or false, not "yes".`,
		`{"active":1}`:                               `active is true or false, not 1.`,
		`{"active":" true"}`:                         `active is true or false, not " true".`,
		`{"active":[true,true]}`:                     `active has one value, not 2.`,
		`{"name":"Ann"}`:                             `name must be an object.`,
		`{"name":7}`:                                 `name must be an object.`,
		`{"name":{"givenName":["a","b"]}}`:           `givenName has one value, not 2.`,
		`{"name.givenName":{"x":1}}`:                 `givenName is a plain value, not an object.`,
		`{"emails":[{"value":["a","b"]}]}`:           `value has one value, not 2.`,
		`{"emails":[{"value":"a","primary":"x"}]}`:   `primary is true or false, not "x".`,
		`{"$E":"x"}`:                                 `$E must be an object.`,
		`{"$E":[]}`:                                  `$E must be an object.`,
		`{"$E":{"manager":{"value":[1,2]}}}`:         `value has one value, not 2.`,
		`{"$X":{"floor":"three"}}`:                   `floor is a number, not "three".`,
		`{"$X":{"floor":3.5}}`:                       `floor is a whole number, not 3.5.`,
		`{"$X":{"floor":"3.5"}}`:                     `floor is a whole number, not 3.5.`,
		`{"$X":{"floor":9223372036854775808}}`:       `floor is a whole number`,
		`{"$X":{"floor":true}}`:                      `floor is a number, not true.`,
		`{"$X":{"rate":1e999}}`:                      `rate is a number, not 1e999.`,
		`{"$X":{"rate":"0x10"}}`:                     `rate is a number, not "0x10".`,
		`{"$X":{"rate":"NaN"}}`:                      `rate is a number, not "NaN".`,
		`{"$X":{"since":"yesterday"}}`:               `since is a time such as 2026-01-02T03:04:05Z, not "yesterday".`,
		`{"$X":{"since":"2026-01-02"}}`:              `since is a time`,
		`{"$X":{"since":5}}`:                         `since is a time such as 2026-01-02T03:04:05Z, not 5.`,
		`{"$X":{"blob":"not base64!"}}`:              `blob is base64, and this is not.`,
		`{"$X":{"blob":"A"}}`:                        `blob is base64, and this is not.`,
		`{"$X":{"blob":"+/-_"}}`:                     `blob is base64, and this is not.`,
		`{"$X":{"blob":7}}`:                          `blob is base64, and this is not.`,
		`{"$X":{"sites":[["a"]]}}`:                   `sites is a text.`,
	} {
		got, err := Normalize(testTypes.User, mustDecode(t, body), nil)
		if got != nil {
			t.Errorf("%s is %s", body, jsonOf(got))
		}
		checkError(t, body, err, "invalidValue: "+expand(want))
	}
}

func TestNormalize_Bounds(t *testing.T) {
	emails := func(n int) map[string]any {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(`{"value":"%d"}`, i)
		}
		return mustDecode(t, `{"emails":[`+strings.Join(list, ",")+`]}`)
	}
	got, err := Normalize(testTypes.User, emails(1000), nil)
	if err != nil || len(got["emails"].([]any)) != 1000 {
		t.Errorf("1000 values: %v", err)
	}
	_, err = Normalize(testTypes.User, emails(1001), nil)
	checkError(t, "1001 values", err, "tooMany: emails has 1001 values; at most 1000 are kept.")
}

func TestNormalize_Group(t *testing.T) {
	for _, x := range []struct{ members, want, quirks string }{
		{`[{"value":"a"},{"VALUE":"b","type":"User","display":"B"}]`, `["a","b"]`, ""},
		{`["a",{"value":"b"}]`, `["a","b"]`, "bare_value"},
		{`"a"`, `["a"]`, "bare_value,single_for_many"},
		{`{"value":"a"}`, `["a"]`, "single_for_many"},
		{`[]`, `[]`, ""},
		{`[null,{},{"value":""},{"value":null},""]`, `[]`, "bare_value"},
		{`[{"$ref":"https://x/Users/a"},{"value":"","$REF":"b"},{"$ref":7},{"$ref":""}]`, `["a","b"]`, "ref_for_value"},
		{`[{"value":"a","$ref":"https://x/Users/b"}]`, `["a"]`, ""},
		{`null`, `null`, ""},
		{`""`, `null`, ""},
	} {
		var quirks Quirks
		got, err := Normalize(testTypes.Group, mustDecode(t, `{"schemas":[],"displayName":"G","members":`+x.members+`}`), &quirks)
		if err != nil || got["displayName"] != "G" || !sameAs(t, got[MembersAttribute], x.want) || quirks.names() != x.quirks {
			t.Errorf("%s is %s, %v with the quirks %q, want %s with %q", x.members, jsonOf(got), err, quirks.names(), x.want, x.quirks)
		}
		quirks = Quirks{}
		ids, err := MemberIDs(mustDecode(t, `{"m":`+x.members+`}`)["m"], &quirks)
		if err != nil || !sameAs(t, ids, x.want) || quirks.names() != x.quirks {
			t.Errorf("the ids of %s are %q, %v with the quirks %q", x.members, ids, err, quirks.names())
		}
	}
	for members, want := range map[string]string{
		`[7]`:           "A member is an object with a value, not 7.",
		`[["a"]]`:       `A member is an object with a value, not ["a"].`,
		`[{"value":7}]`: "A member's value is an id, not 7.",
	} {
		_, err := Normalize(testTypes.Group, mustDecode(t, `{"members":`+members+`}`), nil)
		checkError(t, members, err, "invalidValue: "+want)
		ids, err := MemberIDs(mustDecode(t, `{"m":`+members+`}`)["m"], nil)
		checkError(t, members, err, "invalidValue: "+want)
		if ids != nil {
			t.Errorf("the ids of %s are %q", members, ids)
		}
	}
	many := strings.TrimSuffix(strings.Repeat(`"a",`, maxValues+1), ",")
	if _, err := Normalize(testTypes.Group, mustDecode(t, `{"members":[`+many+`]}`), nil); err != nil {
		t.Errorf("many members: %v", err)
	}
}

// TestNormalize_AcceptsMemberIDs: the lean decoder cannot tell which attribute a list belongs to.
func TestNormalize_AcceptsMemberIDs(t *testing.T) {
	body, err := DecodeReader(strings.NewReader(`{"emails":{"value":[{"value":"a"}]},"members":[{"value":"b"}]}`), true)
	if err != nil {
		t.Fatal(err)
	}
	if got := jsonOf(body); got != `{"emails":{"value":["a"]},"members":["b"]}` {
		t.Fatalf("decoded, it is %s", got)
	}
	if _, ok := body["members"].([]any)[0].(MemberID); !ok {
		t.Errorf("a member is a %T", body["members"].([]any)[0])
	}
	got, err := Normalize(testTypes.User, body, nil)
	if err != nil || !sameAs(t, got, `{"emails":[{"value":"a"}]}`) {
		t.Errorf("normalized, it is %s, %v", jsonOf(got), err)
	}
	ids, err := MemberIDs([]any{MemberID("a"), "b"}, nil)
	if err != nil || len(ids) != 2 || ids[0] != "a" {
		t.Errorf("the ids are %q, %v", ids, err)
	}
}

// TestNormalize_MembersOfAnExtension: only a group's members are members.
func TestNormalize_MembersOfAnExtension(t *testing.T) {
	types := New(strings.ToLower, Schema{URN: "urn:x:y", Attributes: []Attribute{{Name: "members", Type: String, MultiValued: true}}})
	got, err := Normalize(types.User, mustDecode(t, `{"urn:x:y":{"members":["a"]}}`), nil)
	if err != nil || jsonOf(got) != `{"urn:x:y":{"members":["a"]}}` {
		t.Errorf("normalized, it is %s, %v", jsonOf(got), err)
	}
	if _, ok := got["urn:x:y"].(map[string]any)["members"].([]any); !ok {
		t.Errorf("the values are a %T", got["urn:x:y"].(map[string]any)["members"])
	}
}

// TestNormalize_IsIdempotent: a canonical document is its own canonical form.
func TestNormalize_IsIdempotent(t *testing.T) {
	for _, text := range []string{subjectDocument, `{"name.givenName":"A","active":"True","emails":"a","department":"D","$X":{"since":"2026-01-02T03:04:05+01:00","sites":"a"}}`} {
		once, err := Normalize(testTypes.User, mustDecode(t, text), nil)
		if err != nil {
			t.Fatal(err)
		}
		var quirks Quirks
		twice, err := Normalize(testTypes.User, once, &quirks)
		if err != nil || jsonOf(twice) != jsonOf(once) || quirks.names() != "missing_schemas" {
			t.Errorf("%s becomes %s, %v with the quirks %s", jsonOf(once), jsonOf(twice), err, quirks.names())
		}
	}
}
