package schema

import (
	"fmt"
	"strings"
	"testing"
)

func operationText(o Operation) string {
	path := pathText(o.Path)
	if !o.HasValue {
		return o.Op + " " + path
	}
	return o.Op + " " + path + " = " + jsonOf(o.Value)
}

func TestParsePatch(t *testing.T) {
	for _, x := range []struct{ operations, want, quirks string }{
		{`{"op":"add","path":"title","value":"T"}`, `add title = "T"`, ""},
		{`{"op":"replace","path":"TITLE","value":null}`, `replace title = null`, ""},
		{`{"op":"remove","path":"title"}`, `remove title`, ""},
		{`{"op":"remove","path":"title","value":"T"}`, `remove title = "T"`, ""},
		{`{"op":"remove","path":"title","value":null}`, `remove title = null`, ""},
		{`{"OP":"Replace","PATH":"title","VALUE":"T"}`, `replace title = "T"`, "op_case"},
		{`{"op":"ADD","path":"title","value":1},{"op":"Remove","path":"title"}`, `add title = 1; remove title`, "op_case"},
		{`{"op":"add","path":"name.givenName","value":"A"}`, `add name.givenName = "A"`, ""},
		{`{"op":"add","path":"emails[type eq \"work\"]","value":{}}`, `add emails[type eq string:work] = {}`, ""},
		{`{"op":"add","path":"emails[type eq \"work\"].value","value":"a"}`, `add emails[type eq string:work].value = "a"`, ""},
		{`{"op":"add","path":"$E:manager","value":"M"}`, `add $E:manager = "M"`, ""},
		{`{"op":"add","path":"manager","value":"M"}`, `add $E:manager = "M"`, "bare_extension"},
		{`{"op":"add","path":"$E","value":{}}`, `add $E: = {}`, ""},
		{`{"op":"replace","path":"id","value":"x"}`, `replace id = "x"`, ""}, // rejected when it is applied

		// What the schema does not have is left out.
		{`{"op":"add","path":"foo","value":1},{"op":"add","path":"title","value":"T"}`, `add title = "T"`, "unknown_attribute"},
		{`{"op":"add","path":"name.foo","value":1}`, ``, "unknown_attribute"},
		{`{"op":"add","path":"urn:other:a","value":1}`, ``, "unknown_attribute"},
		{`{"op":"add","path":"emails[type pr].foo","value":1}`, ``, "unknown_attribute"},

		// Without a path, each member of the value is one.
		{`{"op":"add","value":{"title":"T","active":true}}`, `add active = true; add title = "T"`, ""},
		{`{"op":"add","path":"","value":{"title":"T"}}`, `add title = "T"`, ""},
		{`{"op":"add","path":null,"value":{"title":"T"}}`, `add title = "T"`, ""},
		{`{"op":"replace","value":{"name.givenName":"A"}}`, `replace name.givenName = "A"`, "dotted_key"},
		{`{"op":"replace","value":{"emails[type eq \"work\"]":"A"}}`, `replace emails[type eq string:work] = "A"`, "dotted_key"},
		{`{"op":"replace","value":{"schemas":[],"SCHEMAS":[1]}}`, ``, "(rejected by Decode)"},
		{`{"op":"replace","value":{"Schemas":[],"title":"T"}}`, `replace title = "T"`, ""},
		{`{"op":"replace","value":{"id":"x","meta":{},"meta.version":1,"title":"T","foo":1}}`, `replace title = "T"`, "dotted_key,read_only_ignored,unknown_attribute"},
		{`{"op":"replace","value":{"$E:manager.displayName":"Boss"}}`, ``, "dotted_key,read_only_ignored"},
		{`{"op":"replace","value":{"$E":{"department":"D"}}}`, `replace $E: = {"department":"D"}`, ""},
		{`{"op":"replace","value":{}}`, ``, ""},

		// A dot for the last colon of a URN.
		{`{"op":"replace","path":"$E.employeeNumber","value":"7"}`, `replace $E:employeeNumber = "7"`, "dotted_urn"},
		{`{"op":"remove","path":"$U.emails[type eq \"work\"].value"}`, `remove emails[type eq string:work].value`, "dotted_urn"},
		{`{"op":"replace","value":{"$E.employeeNumber":"7"}}`, `replace $E:employeeNumber = "7"`, "dotted_urn"},

		// The core schema's attributes below its URN.
		{`{"op":"replace","value":{"$U":{"active":false,"id":"x"},"title":"T"}}`, `replace title = "T"; replace active = false`, "core_object,read_only_ignored"},
		{`{"op":"add","path":"$U","value":{"active":false}}`, `add active = false`, "core_object"},
		{`{"op":"replace","path":"$U","value":null}`, ``, "core_object"},
		{`{"op":"remove","path":"$U"}`, ``, "unknown_attribute"},

		// An object written as a string.
		{`{"op":"replace","value":"{\"title\": \"T\", \"schemas\": []}"}`, `replace title = "T"`, "json_string"},
		{`{"op":"Add","value":"\ufeff {\"active\": false}"}`, `add active = false`, "json_string,op_case"},
	} {
		body, err := Decode([]byte(expand(`{"schemas":["x"],"Operations":[` + x.operations + `]}`)))
		if err != nil {
			if x.quirks != "(rejected by Decode)" {
				t.Errorf("%s: %v", x.operations, err)
			}
			continue
		}
		var quirks Quirks
		operations, err := ParsePatch(testTypes.User, body, &quirks)
		var texts []string
		for _, o := range operations {
			texts = append(texts, operationText(o))
		}
		if got := strings.Join(texts, "; "); err != nil || got != x.want || quirks.names() != x.quirks {
			t.Errorf("%s is %s, %v with the quirks %q, want %s with %q", x.operations, got, err, quirks.names(), x.want, x.quirks)
		}
	}
}

func TestParsePatch_CountsQuirksOfTheBody(t *testing.T) {
	for body, want := range map[string]string{
		`{"schemas":["x"],"Operations":[{"op":"remove","path":"title"}]}`: "",
		`{"SCHEMAS":["x"],"operations":[{"op":"remove","path":"title"}]}`: "operations_case",
		`{"OPERATIONS":[{"op":"remove","path":"title"}]}`:                 "missing_schemas,operations_case",
		`{"Operations":[{"op":"remove","path":"title"}]}`:                 "missing_schemas",
	} {
		var quirks Quirks
		operations, err := ParsePatch(testTypes.User, mustDecode(t, body), &quirks)
		if err != nil || len(operations) != 1 || quirks.names() != want {
			t.Errorf("%s has %d operations, %v and the quirks %q", body, len(operations), err, quirks.names())
		}
	}
}

func TestParsePatch_Rejects(t *testing.T) {
	long := strings.Repeat("a", maxFilter+1)
	for operations, want := range map[string]string{
		``:                                                          "invalidSyntax: Operations must be a list of at least one operation.",
		`7`:                                                         "invalidSyntax: Operation 1 is not an object.",
		`{"op":"remove","path":"title"},"x"`:                        "invalidSyntax: Operation 2 is not an object.",
		`{"path":"title","value":1}`:                                `invalidSyntax: "" is no operation; there are add, replace and remove.`,
		`{"op":"move","path":"title","value":1}`:                    `invalidSyntax: "move" is no operation`,
		`{"op":7,"path":"title","value":1}`:                         `invalidSyntax: "" is no operation`,
		`{"op":"add","path":"title"}`:                               "invalidValue: The operation add needs a value; null clears.",
		`{"op":"Replace","path":"title"}`:                           "invalidValue: The operation replace needs a value",
		`{"op":"add","path":7,"value":1}`:                           "invalidPath: A path must be a string.",
		`{"op":"add","path":{},"value":1}`:                          "invalidPath: A path must be a string.",
		`{"op":"remove"}`:                                           "noTarget: A remove must say what, by its path.",
		`{"op":"remove","value":{"title":1}}`:                       "noTarget: A remove must say what",
		`{"op":"remove","path":""}`:                                 "noTarget: A remove must say what",
		`{"op":"add","value":"x"}`:                                  "invalidValue: Without a path, the value must be an object.",
		`{"op":"add","value":"{"}`:                                  "invalidValue: Without a path, the value must be an object.",
		`{"op":"add","value":"{\"a\":1,\"A\":2}"}`:                  "invalidValue: Without a path, the value must be an object.",
		`{"op":"add","value":"[]"}`:                                 "invalidValue: Without a path, the value must be an object.",
		`{"op":"add","value":"\"{}\""}`:                             "invalidValue: Without a path, the value must be an object.",
		`{"op":"add","value":{"$U":"{}"}}`:                          "invalidValue: $U must be an object.",
		`{"op":"add","path":"$U","value":7}`:                        "invalidValue: $U must be an object.",
		`{"op":"add","value":{"active":false,"$U:active":true}}`:    "invalidValue: active is named twice, with different values.",
		`{"op":"add","value":{"active":null,"$U":{"active":true}}}`: "invalidValue: active is named twice, with different values.",
		`{"op":"add","value":null}`:                                 "invalidValue: Without a path, the value must be an object.",
		`{"op":"add","value":[{"title":1}]}`:                        "invalidValue: Without a path, the value must be an object.",
		`{"op":"add","value":{"title[":1}}`:                         `invalidPath: The path goes on where it should end, at "[".`,
		`{"op":"add","path":"(title)","value":1}`:                   `invalidPath: "(title)" does not begin with an attribute.`,
		`{"op":"add","path":"` + long + `","value":1}`:              "invalidPath: The path is longer than 16384 characters.",
	} {
		got, err := ParsePatch(testTypes.User, mustDecode(t, `{"Operations":[`+operations+`]}`), nil)
		if got != nil {
			t.Errorf("%.80s is %v", operations, got)
		}
		checkError(t, fmt.Sprintf("%.80s", operations), err, expand(want))
	}
	for _, body := range []string{`{}`, `{"Operations":{}}`, `{"Operations":null}`} {
		_, err := ParsePatch(testTypes.User, mustDecode(t, body), nil)
		checkError(t, body, err, "invalidSyntax: Operations must be a list")
	}
	list := func(n int) map[string]any {
		return mustDecode(t, `{"Operations":[`+strings.TrimSuffix(strings.Repeat(`{"op":"remove","path":"title"},`, n), ",")+`]}`)
	}
	if operations, err := ParsePatch(testTypes.User, list(1000), nil); err != nil || len(operations) != 1000 {
		t.Errorf("1000 operations are %d, %v", len(operations), err)
	}
	_, err := ParsePatch(testTypes.User, list(1001), nil)
	checkError(t, "1001 operations", err, "tooMany: There are 1001 operations; at most 1000 are taken at once.")
}

func TestParsePath(t *testing.T) {
	for _, x := range []struct{ text, want, quirks string }{
		{"title", "title", ""},
		{" title ", "title", ""},
		{"name.GIVENNAME", "name.givenName", ""},
		{"emails.type", "emails.type", ""},
		{`emails[type eq "work"]`, "emails[type eq string:work]", ""},
		{`emails[type eq "work"].VALUE`, "emails[type eq string:work].value", ""},
		{`emails[type eq "work" and primary eq "True"].value`, "emails[(type eq string:work and primary eq bool:true)].value", "boolean_string"},
		{"$U:title", "title", ""},
		{"$E:manager.value", "$E:manager.value", ""},
		{strings.ToUpper(EnterpriseURN), "$E:", ""},
		{"$X:sites", "$X:sites", ""},
		{"badge", "$X:badge", "bare_extension"},
		{"foo", "", "unknown_attribute"},
		{"name.foo", "", "unknown_attribute"},
		{"urn:other", "", "unknown_attribute"},
		{`foo[type eq "work"]`, "", "unknown_attribute"},
		{`emails[type eq "work"].foo`, "", "unknown_attribute"},
	} {
		var quirks Quirks
		path, err := ParsePath(testTypes.User, expand(x.text), &quirks)
		got := ""
		if path != nil {
			got = pathText(path)
		}
		if err != nil || got != x.want || quirks.names() != x.quirks {
			t.Errorf("%s is %q, %v with the quirks %q, want %q with %q", x.text, got, err, quirks.names(), x.want, x.quirks)
		}
	}
	for text, want := range map[string]string{
		"":                               `invalidPath: "" does not begin with an attribute.`,
		"[":                              `invalidPath: "[" does not begin with an attribute.`,
		`"title"`:                        `invalidPath: "\"title\"" does not begin with an attribute.`,
		`"`:                              `invalidPath: "\"" does not begin with an attribute.`,
		"title userName":                 `invalidPath: The path goes on where it should end, at "userName". (At character 7.)`,
		"title[value pr]":                `invalidPath: The path goes on where it should end, at "[".`,
		"name[givenName pr]":             `invalidPath: The path goes on where it should end, at "[".`,
		"emails.type[value pr]":          `invalidPath: The path goes on where it should end, at "[".`,
		"$X:sites[value pr]":             `invalidPath: The path goes on where it should end, at "[".`,
		"emails(type pr)":                `invalidPath: The path goes on where it should end, at "(".`,
		`emails "`:                       `invalidFilter: no closing quote`,
		"emails[foo pr]":                 `invalidFilter: emails has no sub-attribute "foo".`,
		"emails[type pr":                 `invalidPath: A ] is missing in the path. (At character 15.)`,
		"emails[type pr)":                `invalidPath: A ] is missing in the path.`,
		`emails[type pr "`:               `invalidFilter: no closing quote`,
		"emails[type pr]value":           `invalidPath: A sub-attribute is expected where the path has "value".`,
		"emails[type pr].":               `invalidPath: A sub-attribute is expected where the path has ".".`,
		"emails[type pr][":               `invalidPath: A sub-attribute is expected where the path has "[".`,
		`emails[type pr] "`:              `invalidFilter: no closing quote`,
		"emails[type pr].value x":        `invalidPath: The path goes on where it should end, at "x".`,
		`emails[type pr].value "`:        `invalidPath: The path goes on where it should end, at "".`,
		strings.Repeat("a", maxFilter+1): `invalidPath: The path is longer than 16384 characters.`,
	} {
		path, err := ParsePath(testTypes.User, expand(text), nil)
		if path != nil {
			t.Errorf("%.80s is %s", text, pathText(path))
		}
		checkError(t, fmt.Sprintf("%.80s", text), err, want)
	}
	if path, err := ParsePath(testTypes.User, strings.Repeat("a", maxFilter), nil); path != nil || err != nil {
		t.Errorf("the longest path is %v, %v", path, err)
	}
}
