package schema

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
)

const testURN = "urn:ietf:params:scim:schemas:extension:contoso:2.0:User"

// testExtension has one attribute of each data type, and one with many values.
var testExtension = Schema{URN: testURN, Name: "Contoso", Description: "For tests.", Attributes: []Attribute{
	{Name: "badge", Type: String},
	{Name: "key", Type: String, CaseExact: true},
	{Name: "contractor", Type: Boolean},
	{Name: "floor", Type: Integer},
	{Name: "rate", Type: Decimal},
	{Name: "since", Type: DateTime},
	{Name: "blob", Type: Binary, CaseExact: true},
	{Name: "page", Type: Reference, CaseExact: true},
	{Name: "sites", Type: String, MultiValued: true},
	{Name: "title", Type: String, Description: "Named like an attribute of the core schema."},
}}

var testTypes = New(strings.ToLower, testExtension)

// mustDecode parses a JSON object, in which $X stands for the URN of the test extension and $E for the enterprise one.
func mustDecode(t testing.TB, text string) map[string]any {
	t.Helper()
	object, err := Decode([]byte(expand(text)))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return object
}

func expand(text string) string {
	return strings.NewReplacer("$X", testURN, "$E", EnterpriseURN, "$U", UserURN).Replace(text)
}

// sameAs reports whether a value is what the JSON text says.
func sameAs(t testing.TB, got any, want string) bool {
	t.Helper()
	var v any
	d := json.NewDecoder(strings.NewReader(expand(want)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	return jsonOf(got) == jsonOf(v)
}

// names returns the quirks that were counted, sorted, with a comma between them.
func (qs *Quirks) names() string {
	list := make([]string, 0, len(qs.Counts))
	for _, q := range slices.Sorted(maps.Keys(qs.Counts)) {
		list = append(list, string(q))
	}
	return strings.Join(list, ",")
}

// checkError checks that err is an [Error] of the type whose detail contains text. want is "type: text".
func checkError(t testing.TB, about string, err error, want string) {
	t.Helper()
	scimType, text, _ := strings.Cut(want, ": ")
	var e *Error
	switch {
	case !errors.As(err, &e):
		t.Errorf("%s: the error is %v, want %s", about, err, want)
	case e.Type != scimType || !strings.Contains(e.Detail, text):
		t.Errorf("%s: the error is %s: %s, want %s", about, e.Type, e.Detail, want)
	case e.Error() != e.Detail:
		t.Errorf("%s: the error's text is %q, its detail %q", about, e.Error(), e.Detail)
	}
}

func TestEqualNames(t *testing.T) {
	for _, x := range []struct {
		a, b string
		want bool
	}{
		{"userName", "USERNAME", true}, {"", "", true}, {"a", "b", false}, {"a", "ab", false}, {"title", "titlf", false},
		{"s", "\u017f", false}, {"\u017f", "s", false}, {"k", "\u212a", false}, // letters that strings.EqualFold takes for ASCII ones
	} {
		if got := EqualNames(x.a, x.b); got != x.want {
			t.Errorf("EqualNames(%q, %q) = %t", x.a, x.b, got)
		}
	}
}

func TestError_ShapeHasNoValues(t *testing.T) {
	_, err := ParseFilter(testTypes.User, nil, `userName eq "x" and secret eq "hunter2"`, nil)
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	if want := `A User has no attribute "secret". (At character 21.)`; e.Detail != want {
		t.Errorf("the detail is %q, want %q", e.Detail, want)
	}
	if want := "A … has no attribute …."; e.Shape != want {
		t.Errorf("the shape is %q, want %q", e.Shape, want)
	}
	if e := invalid("invalidValue", "%s has %d values, not %.100q and %.5s.", "a", 1, "b", "c"); e.Shape != "… has … values, not … and …." {
		t.Errorf("the shape is %q", e.Shape)
	}
}

func TestQuirks(t *testing.T) {
	var none *Quirks
	none.Add(QuirkOpCase) // must not panic
	var qs Quirks
	qs.Add(QuirkOpCase)
	qs.Add(QuirkOpCase)
	clone := qs.Clone()
	qs.Add(QuirkDottedKey)
	if qs.Counts[QuirkOpCase] != 2 || qs.Counts[QuirkDottedKey] != 1 || len(qs.Counts) != 2 {
		t.Errorf("the quirks are %v", qs.Counts)
	}
	if clone.Counts[QuirkOpCase] != 2 || len(clone.Counts) != 1 {
		t.Errorf("the clone is %v", clone.Counts)
	}
}
