package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestDecode(t *testing.T) {
	deepest := strings.Repeat(`{"a":`, maxDepth) + `1` + strings.Repeat(`}`, maxDepth)
	for text, want := range map[string]string{
		`{}`:                                 `{}`,
		` {"a":[1,"x",true,null,{"b":[]}]} `: `{"a":[1,"x",true,null,{"b":[]}]}`,
		"\ufeff{\"a\":1}":                    `{"a":1}`,
		`{"n":12345678901234567890.10}`:      `{"n":12345678901234567890.10}`,
		`{"a":{"A":1}}`:                      `{"a":{"A":1}}`, // two objects
		`{"s":1,"ſ2":2}`:                     `{"s":1,"ſ2":2}`,
		deepest:                              deepest,
	} {
		for _, lean := range []bool{false, true} {
			got, err := DecodeReader(iotest.OneByteReader(strings.NewReader(text)), lean)
			if err != nil || jsonOf(got) != want {
				t.Errorf("%.60s, lean %t, is %.60s, %v", text, lean, jsonOf(got), err)
			}
		}
	}
	got, err := Decode([]byte(`{"n":1.0}`))
	if number, ok := got["n"].(json.Number); err != nil || !ok || number != "1.0" {
		t.Errorf("a number is a %T, %v", got["n"], err)
	}
}

func TestDecode_Rejects(t *testing.T) {
	names := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`"n%d":1`, i))
		}
		return strings.Join(list, ",")
	}
	for text, want := range map[string]string{
		``:                            "The body is not JSON: EOF.",
		"\ufeff":                      "The body is not JSON: EOF.",
		`{`:                           "The body is not JSON",
		`{"a"`:                        "The body is not JSON",
		`{"a":`:                       "The body is not JSON",
		`{"a":1`:                      "The body is not JSON",
		`{"a":[1`:                     "The body is not JSON",
		`{"a":[1}`:                    "The body is not JSON",
		`{"a":x}`:                     "The body is not JSON",
		`{"a":1,}`:                    "The body is not JSON",
		`{1:1}`:                       "The body is not JSON",
		`{} x`:                        "The body is not JSON",
		`{} {}`:                       "Something follows the JSON object.",
		`{}1`:                         "Something follows the JSON object.",
		`[]`:                          "The body is not a JSON object.",
		`7`:                           "The body is not a JSON object.",
		`null`:                        "The body is not a JSON object.",
		`{"a":1,"a":2}`:               `The member "a" stands twice in one object.`,
		`{"a":1,"A":2}`:               `The member "A" stands twice in one object.`,
		`{"x":{"é":1,"É":2}}`:         `The member "É" stands twice in one object.`,
		`{"s":1,"ſ":2}`:               `The member "ſ" stands twice in one object.`,
		`{` + names(16) + `,"N0":1}`:  `The member "N0" stands twice in one object.`,
		`{` + names(17) + `,"N16":1}`: `The member "N16" stands twice in one object.`,
		`{` + names(40) + `,"N39":1}`: `The member "N39" stands twice in one object.`,
		strings.Repeat(`{"a":`, maxDepth+1) + `1` + strings.Repeat(`}`, maxDepth+1):       "The JSON is nested deeper than 32 levels.",
		`{"a":` + strings.Repeat(`[`, maxDepth+1) + strings.Repeat(`]`, maxDepth+1) + `}`: "The JSON is nested deeper than 32 levels.",
		"{\"a\":\"\xff\"}": "The body is not UTF-8.",
		"{\"a\":1}\xff":    "The body is not UTF-8.",
	} {
		for _, lean := range []bool{false, true} {
			got, err := DecodeReader(strings.NewReader(text), lean)
			if got != nil {
				t.Errorf("%.60q, lean %t, is %s", text, lean, jsonOf(got))
			}
			checkError(t, fmt.Sprintf("%.60q, lean %t", text, lean), err, "invalidSyntax: "+want)
		}
	}
}

func TestDecodeReader_ReturnsTheReadersErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, lean := range []bool{false, true} {
		for _, text := range []string{"", `{`, `{"a"`, `{"a":`, `{"a":1`, `{"members":[`, `{"a":1}`} {
			_, err := DecodeReader(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)), lean)
			if !errors.Is(err, broken) {
				t.Errorf("after %q, lean %t: %v", text, lean, err)
			}
		}
	}
}

func TestDecodeReader_KeepsIDsOfMembers(t *testing.T) {
	for text, want := range map[string]string{
		`{"members":[{"value":"a"}]}`:                                        "[schema.MemberID:a]",
		`{"MEMBERS":[{"VALUE":"a","$REF":"x","Display":"y","TYPE":"User"}]}`: "[schema.MemberID:a]",
		`{"members":[{"value":"a"},{"value":"b"}]}`:                          "[schema.MemberID:a schema.MemberID:b]",
		`{"members":["a"]}`:                                                  "[string:a]",
		`{"members":[{"value":""}]}`:                                         "[map[string]interface {}:map[value:]]",
		`{"members":[{"value":7}]}`:                                          "[map[string]interface {}:map[value:7]]",
		`{"members":[{"$ref":"x"}]}`:                                         "[map[string]interface {}:map[$ref:x]]",
		`{"members":[{"value":"a","primary":1}]}`:                            "[map[string]interface {}:map[primary:1 value:a]]",
		`{"members":[{"value":"a","1":1,"2":2,"3":3,"4":4}]}`:                "[map[string]interface {}:map[1:1 2:2 3:3 4:4 value:a]]",
		`{"Operations":[{"value":[{"value":"a"}]}]}`:                         "operations",
		`{"roles":[{"value":"a"}]}`:                                          "[map[string]interface {}:map[value:a]]",
	} {
		body, err := DecodeReader(strings.NewReader(text), true)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		v, ok := Member(body, "members")
		if !ok {
			v = body["roles"]
		}
		if operations, ok := body["Operations"].([]any); ok {
			v, want = operations[0].(map[string]any)["value"], "[schema.MemberID:a]"
		}
		var kinds []string
		for _, m := range v.([]any) {
			kinds = append(kinds, fmt.Sprintf("%T:%v", m, m))
		}
		if got := fmt.Sprint(kinds); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
	body, err := DecodeReader(strings.NewReader(`{"members":[{"value":"a"}]}`), false)
	if err != nil || jsonOf(body) != `{"members":[{"value":"a"}]}` {
		t.Errorf("not lean, it is %s, %v", jsonOf(body), err)
	}
}

func TestMember(t *testing.T) {
	object := map[string]any{"Value": 1, "value": 2, "Other": nil}
	for name, want := range map[string]any{"value": 2, "Value": 1, "other": nil} {
		if got, ok := Member(object, name); !ok || got != want {
			t.Errorf("%s is %v, %t", name, got, ok)
		}
	}
	if v, ok := Member(object, "valu"); ok || v != nil {
		t.Errorf("a member that is not there is %v", v)
	}
}

func TestNameSet(t *testing.T) {
	for _, n := range []int{1, maxFewNames - 1, maxFewNames, maxFewNames + 1, 100} {
		var set nameSet
		for i := range n {
			if !set.add(fmt.Sprintf("Name%d", i)) {
				t.Fatalf("name %d of %d is there already", i, n)
			}
		}
		for i := range n {
			if set.add(fmt.Sprintf("nAME%d", i)) {
				t.Errorf("name %d of %d is not there", i, n)
			}
		}
		if (set.many != nil) != (n > maxFewNames) {
			t.Errorf("of %d names there is a map: %t", n, set.many != nil)
		}
	}
}

func FuzzFoldName(f *testing.F) {
	for _, seed := range []string{"s", "ſ", "k", "K", "É", "ß", "σς"} {
		f.Add(seed, strings.ToUpper(seed))
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.EqualFold(a, b) != (foldName(a) == foldName(b)) {
			t.Errorf("%q and %q are folded to %q and %q", a, b, foldName(a), foldName(b))
		}
	})
}
