package schema

import (
	"fmt"
	"strings"
	"testing"
)

const storedUser = `{"userName":"ann","title":"Clerk","active":true,"name":{"givenName":"Ann","familyName":"Lee"},
	"emails":[{"type":"work","value":"w","primary":true},{"type":"home","value":"h"}],"$E":{"department":"D1"},"$X":{"sites":["a","b"]}}`

// applied returns the document after the operations. Each must be parsed.
func applied(t *testing.T, document, operations string, quirks *Quirks) (map[string]any, error) {
	t.Helper()
	parsed, err := ParsePatch(testTypes.User, mustDecode(t, `{"schemas":[],"Operations":[`+operations+`]}`), quirks)
	if err != nil {
		return nil, err
	}
	out := mustDecode(t, document)
	return out, ApplyPatch(testTypes.User, out, parsed, quirks)
}

// after writes the stored user with other values in the place of some attributes; null removes one.
func after(t *testing.T, changes string) string {
	t.Helper()
	document := mustDecode(t, storedUser)
	for name, v := range mustDecode(t, changes) {
		document[name] = v
		if v == nil {
			delete(document, name)
		}
	}
	return jsonOf(document)
}

func TestApplyPatch(t *testing.T) {
	for _, x := range []struct{ operations, changes, quirks string }{
		// A single-valued attribute.
		{`{"op":"add","path":"title","value":"T"}`, `{"title":"T"}`, ""},
		{`{"op":"replace","path":"title","value":"T"}`, `{"title":"T"}`, ""},
		{`{"op":"replace","path":"nickName","value":"N"}`, `{"nickName":"N"}`, ""},
		{`{"op":"remove","path":"title"}`, `{"title":null}`, ""},
		{`{"op":"remove","path":"title","value":"other"}`, `{"title":null}`, ""},
		{`{"op":"remove","path":"nickName"}`, `{}`, ""},
		{`{"op":"replace","path":"title","value":null}`, `{"title":null}`, ""},
		{`{"op":"add","path":"title","value":null}`, `{"title":null}`, ""},
		{`{"op":"replace","path":"title","value":""}`, `{"title":null}`, "empty_string"},
		{`{"op":"replace","path":"title","value":[]}`, `{"title":null}`, ""},
		{`{"op":"replace","path":"active","value":"False"}`, `{"active":false}`, "boolean_string"},
		{`{"op":"replace","path":"password","value":"hunter2"}`, `{}`, ""},
		{`{"op":"remove","path":"password"}`, `{}`, ""},
		{`{"op":"replace","path":"title","value":"1"},{"op":"replace","path":"title","value":"2"}`, `{"title":"2"}`, ""},

		// A complex one, and its sub-attributes.
		{`{"op":"replace","path":"name","value":{"givenName":"B","middleName":"M"}}`, `{"name":{"givenName":"B","familyName":"Lee","middleName":"M"}}`, ""},
		{`{"op":"add","path":"name.middleName","value":"M"}`, `{"name":{"givenName":"Ann","familyName":"Lee","middleName":"M"}}`, ""},
		{`{"op":"replace","path":"name.givenName","value":null}`, `{"name":{"familyName":"Lee"}}`, ""},
		{`{"op":"remove","path":"name.givenName"}`, `{"name":{"familyName":"Lee"}}`, ""},
		{`{"op":"remove","path":"name.givenName"},{"op":"remove","path":"name.familyName"}`, `{"name":null}`, ""},
		{`{"op":"remove","path":"name"}`, `{"name":null}`, ""},
		{`{"op":"replace","path":"name","value":{}}`, `{"name":null}`, ""},

		// Extensions.
		{`{"op":"add","path":"$E:division","value":"V"}`, `{"$E":{"department":"D1","division":"V"}}`, ""},
		{`{"op":"add","path":"$E:manager","value":"M"}`, `{"$E":{"department":"D1","manager":{"value":"M"}}}`, "bare_value"},
		{`{"op":"remove","path":"$E:department"}`, `{"$E":null}`, ""},
		{`{"op":"replace","path":"$E:department","value":null}`, `{"$E":null}`, ""},
		{`{"op":"remove","path":"$E:manager.value"}`, `{}`, ""},
		{`{"op":"remove","path":"$E"}`, `{"$E":null}`, ""},
		{`{"op":"add","path":"$E:manager.$ref","value":"../Users/M"}`, `{}`, ""}, // nothing but a reference
		{`{"op":"replace","path":"$E","value":{"department":null}},{"op":"add","path":"$E:manager.$ref","value":"../Users/M"}`, `{"$E":null}`, ""},
		{`{"op":"add","path":"$E:manager.$ref","value":"r"},{"op":"add","path":"$E:manager.value","value":"M"}`,
			`{"$E":{"department":"D1","manager":{"$ref":"r","value":"M"}}}`, ""},
		{`{"op":"remove","path":"$E","value":{"department":"D1"}}`, `{"$E":null}`, ""},
		{`{"op":"replace","path":"$E","value":null}`, `{"$E":null}`, ""},
		{`{"op":"replace","path":"$E","value":""}`, `{"$E":null}`, ""},
		{`{"op":"add","path":"$E","value":null}`, `{}`, ""},
		{`{"op":"add","path":"$E","value":""}`, `{}`, ""},
		{`{"op":"add","path":"$E","value":{"division":"V","foo":1}}`, `{"$E":{"department":"D1","division":"V"}}`, "unknown_attribute"},
		{`{"op":"replace","path":"$E","value":{"DIVISION":"V"}}`, `{"$E":{"department":"D1","division":"V"}}`, ""},
		{`{"op":"replace","path":"$E","value":{"department":null}}`, `{"$E":null}`, ""},
		{`{"op":"replace","value":{"$X":{"sites":["c"]}}}`, `{"$X":{"sites":["c"]}}`, ""},

		// All elements of a multi-valued attribute.
		{`{"op":"add","path":"emails","value":[{"value":"n","type":"other"}]}`,
			`{"emails":[{"type":"work","value":"w","primary":true},{"type":"home","value":"h"},{"type":"other","value":"n"}]}`, ""},
		{`{"op":"add","path":"emails","value":{"value":"n","primary":true}}`,
			`{"emails":[{"type":"work","value":"w","primary":false},{"type":"home","value":"h"},{"value":"n","primary":true}]}`, "single_for_many"},
		{`{"op":"add","path":"emails","value":[{"type":"home","value":"h","display":"H"}]}`,
			`{"emails":[{"type":"work","value":"w","primary":true},{"type":"home","value":"h","display":"H"}]}`, ""},
		{`{"op":"add","path":"emails","value":[{"type":"home","value":"h","primary":true}]}`,
			`{"emails":[{"type":"work","value":"w","primary":false},{"type":"home","value":"h","primary":true}]}`, ""},
		{`{"op":"add","path":"emails","value":[{"value":"x"},{"value":"y"},{"value":"x","display":"X"}]}`,
			`{"emails":[{"type":"work","value":"w","primary":true},{"type":"home","value":"h"},{"value":"x","display":"X"},{"value":"y"}]}`, "same_value_twice"},
		{`{"op":"add","path":"emails","value":[]}`, `{}`, ""},
		{`{"op":"add","path":"emails","value":null}`, `{}`, ""},
		{`{"op":"replace","path":"emails","value":[{"value":"n"}]}`, `{"emails":[{"value":"n"}]}`, ""},
		{`{"op":"replace","path":"emails","value":[]}`, `{"emails":null}`, ""},
		{`{"op":"replace","path":"emails","value":null}`, `{"emails":null}`, ""},
		{`{"op":"remove","path":"emails"}`, `{"emails":null}`, ""},
		{`{"op":"remove","path":"emails","value":null}`, `{"emails":null}`, "remove_with_value"},
		{`{"op":"remove","path":"emails","value":[{"value":"h"},{"value":"x"}]}`, `{"emails":[{"type":"work","value":"w","primary":true}]}`, "remove_with_value"},
		{`{"op":"remove","path":"emails","value":"w"}`, `{"emails":[{"type":"home","value":"h"}]}`, "bare_value,remove_with_value,single_for_many"},
		{`{"op":"remove","path":"emails","value":[]}`, `{}`, "remove_with_value"},
		{`{"op":"remove","path":"emails","value":[{"display":"x"}]}`, `{}`, "remove_with_value"},
		{`{"op":"remove","path":"phoneNumbers","value":[{"value":"h"}]}`, `{}`, "remove_with_value"},
		{`{"op":"add","path":"$X:sites","value":["b","c"]}`, `{"$X":{"sites":["a","b","c"]}}`, ""},
		{`{"op":"remove","path":"$X:sites","value":["a"]}`, `{"$X":{"sites":["b"]}}`, "remove_with_value"},
		{`{"op":"remove","path":"$X:sites","value":["a","b"]}`, `{"$X":null}`, "remove_with_value"},

		// Some elements.
		{`{"op":"replace","path":"emails[type eq \"work\"].value","value":"n"}`, `{"emails":[{"type":"work","value":"n","primary":true},{"type":"home","value":"h"}]}`, ""},
		{`{"op":"add","path":"emails[type eq \"home\"].primary","value":true}`, `{"emails":[{"type":"work","value":"w","primary":false},{"type":"home","value":"h","primary":true}]}`, ""},
		{`{"op":"replace","path":"emails[type pr].display","value":"D"}`,
			`{"emails":[{"type":"work","value":"w","primary":true,"display":"D"},{"type":"home","value":"h","display":"D"}]}`, ""},
		{`{"op":"replace","path":"emails[type eq \"home\"]","value":{"value":"n"}}`, `{"emails":[{"type":"work","value":"w","primary":true},{"value":"n"}]}`, ""},
		{`{"op":"replace","path":"emails[type eq \"home\"]","value":null}`, `{"emails":[{"type":"work","value":"w","primary":true}]}`, ""},
		{`{"op":"add","path":"emails[type eq \"home\"]","value":{"display":"H"}}`, `{"emails":[{"type":"work","value":"w","primary":true},{"type":"home","value":"h","display":"H"}]}`, ""},
		{`{"op":"remove","path":"emails[type eq \"home\"]"}`, `{"emails":[{"type":"work","value":"w","primary":true}]}`, ""},
		{`{"op":"remove","path":"emails[type pr]"}`, `{"emails":null}`, ""},
		{`{"op":"remove","path":"emails[type eq \"other\"]"}`, `{}`, ""},
		{`{"op":"remove","path":"emails[type eq \"work\"].primary"}`, `{"emails":[{"type":"work","value":"w"},{"type":"home","value":"h"}]}`, ""},
		{`{"op":"remove","path":"emails[type eq \"work\"].value"}`, `{"emails":[{"type":"home","value":"h"}]}`, ""},
		{`{"op":"replace","path":"emails[type eq \"work\"].value","value":""}`, `{"emails":[{"type":"home","value":"h"}]}`, "empty_string"},
		{`{"op":"remove","path":"emails.value"}`, `{"emails":null}`, ""},
		{`{"op":"replace","path":"emails.type","value":"other"}`, `{"emails":[{"type":"other","value":"w","primary":true},{"type":"other","value":"h"}]}`, ""},
		{`{"op":"replace","path":"emails.value","value":"s"},{"op":"replace","path":"emails.type","value":"work"}`, `{"emails":[{"type":"work","value":"s","primary":true}]}`, "same_value_twice"},

		// An element that there is not, but that the filter describes, is created.
		{`{"op":"replace","path":"emails[type eq \"other\"].value","value":"n"}`,
			`{"emails":[{"type":"work","value":"w","primary":true},{"type":"home","value":"h"},{"type":"other","value":"n"}]}`, "filter_creates"},
		{`{"op":"add","path":"roles[primary eq \"True\"].value","value":"R"}`, `{"roles":[{"primary":true,"value":"R"}]}`, "boolean_string,filter_creates"},
		{`{"op":"add","path":"emails[type eq \"other\" and primary eq true].value","value":"n"}`,
			`{"emails":[{"type":"work","value":"w","primary":false},{"type":"home","value":"h"},{"type":"other","value":"n","primary":true}]}`, "filter_creates"},
		{`{"op":"add","path":"emails[type eq \"other\"]","value":{"value":"n","display":"N"}}`,
			`{"emails":[{"type":"work","value":"w","primary":true},{"type":"home","value":"h"},{"type":"other","value":"n","display":"N"}]}`, "filter_creates"},
		{`{"op":"replace","path":"emails[type eq \"other\"]","value":{"value":"n"}}`,
			`{"emails":[{"type":"work","value":"w","primary":true},{"type":"home","value":"h"},{"type":"other","value":"n"}]}`, "filter_creates"},
		{`{"op":"replace","path":"phoneNumbers.value","value":"1"}`, `{"phoneNumbers":[{"value":"1"}]}`, "filter_creates"},
		{`{"op":"replace","path":"phoneNumbers[type eq \"fax\"].value","value":null}`, `{}`, "filter_creates"},
		{`{"op":"replace","path":"emails[value eq \"n\"].type","value":"other"}`,
			`{"emails":[{"type":"work","value":"w","primary":true},{"type":"home","value":"h"},{"type":"other","value":"n"}]}`, "filter_creates"},
	} {
		var quirks Quirks
		got, err := applied(t, storedUser, x.operations, &quirks)
		if err != nil || !sameAs(t, got, after(t, x.changes)) || quirks.names() != x.quirks {
			t.Errorf("after %s:\n%s, %v with the quirks %q, want\n%s with %q", x.operations, jsonOf(got), err, quirks.names(), after(t, x.changes), x.quirks)
		}
	}
}

func TestApplyPatch_Rejects(t *testing.T) {
	for operations, want := range map[string]string{
		`{"op":"replace","path":"id","value":"x"}`:                                         "mutability: id cannot be changed from outside.",
		`{"op":"remove","path":"groups"}`:                                                  "mutability: groups cannot be changed from outside.",
		`{"op":"replace","path":"meta.created","value":"x"}`:                               "mutability: meta cannot be changed from outside.",
		`{"op":"replace","path":"$E:manager.displayName","value":"x"}`:                     "mutability: manager cannot be changed from outside.",
		`{"op":"add","path":"schemas","value":["x"]}`:                                      "mutability: schemas cannot be changed from outside.",
		`{"op":"remove","path":"userName"}`:                                                "mutability: userName is required and cannot be removed.",
		`{"op":"replace","path":"userName","value":null}`:                                  "invalidValue: userName is required and cannot be empty.",
		`{"op":"replace","path":"userName","value":""}`:                                    "invalidValue: userName is required and cannot be empty.",
		`{"op":"replace","path":"title","value":["a","b"]}`:                                "invalidValue: title has one value, not 2.",
		`{"op":"replace","path":"active","value":"maybe"}`:                                 `invalidValue: active is true or false, not "maybe".`,
		`{"op":"replace","path":"name","value":"Ann"}`:                                     "invalidValue: name must be an object.",
		`{"op":"replace","path":"name.givenName","value":["a","b"]}`:                       "invalidValue: givenName has one value, not 2.",
		`{"op":"replace","path":"$E","value":"x"}`:                                         "invalidValue: $E must be an object.",
		`{"op":"replace","path":"$E","value":{"department":["a","b"]}}`:                    "invalidValue: department has one value, not 2.",
		`{"op":"replace","path":"$X","value":{"floor":"x"}}`:                               `invalidValue: floor is a number, not "x".`,
		`{"op":"add","path":"emails","value":[{"value":["a","b"]}]}`:                       "invalidValue: value has one value, not 2.",
		`{"op":"replace","path":"emails","value":[{"value":["a","b"]}]}`:                   "invalidValue: value has one value, not 2.",
		`{"op":"remove","path":"emails","value":[{"value":["a","b"]}]}`:                    "invalidValue: value has one value, not 2.",
		`{"op":"replace","path":"emails[type eq \"work\"].primary","value":"x"}`:           `invalidValue: primary is true or false, not "x".`,
		`{"op":"replace","path":"emails[type eq \"work\"]","value":{"primary":"x"}}`:       `invalidValue: primary is true or false, not "x".`,
		`{"op":"add","path":"emails[type eq \"work\"]","value":{"primary":"x"}}`:           `invalidValue: primary is true or false, not "x".`,
		`{"op":"add","path":"emails[type eq \"other\"]","value":{"primary":"x"}}`:          `invalidValue: primary is true or false, not "x".`,
		`{"op":"add","path":"emails[type eq \"other\"].primary","value":"x"}`:              `invalidValue: primary is true or false, not "x".`,
		`{"op":"replace","path":"emails[value co \"x\"].type","value":"work"}`:             "noTarget: No element of emails matches the path.",
		`{"op":"add","path":"emails[type eq \"x\" or type eq \"y\"].value","value":"v"}`:   "noTarget: No element of emails matches the path.",
		`{"op":"add","path":"emails[type eq \"x\" and value co \"y\"].value","value":"v"}`: "noTarget: No element of emails matches the path.",
		`{"op":"add","path":"emails[value co \"y\" and type eq \"x\"].value","value":"v"}`: "noTarget: No element of emails matches the path.",
		`{"op":"add","path":"phoneNumbers[type eq null].value","value":"v"}`:               "noTarget: No element of phoneNumbers matches the path.",
	} {
		_, err := applied(t, storedUser, operations, nil)
		checkError(t, operations, err, expand(want))
	}
}

func TestApplyPatch_Bounds(t *testing.T) {
	list := make([]string, 1000)
	for i := range list {
		list[i] = fmt.Sprintf(`{"value":"%d"}`, i)
	}
	full := `{"userName":"a","emails":[` + strings.Join(list, ",") + `]}`
	if _, err := applied(t, full, `{"op":"add","path":"emails","value":[{"value":"0"}]}`, nil); err != nil {
		t.Errorf("1000 values: %v", err)
	}
	_, err := applied(t, full, `{"op":"add","path":"emails","value":[{"value":"x"}]}`, nil)
	checkError(t, "1001 values", err, "tooMany: emails would have 1001 values; at most 1000 are kept.")
}
