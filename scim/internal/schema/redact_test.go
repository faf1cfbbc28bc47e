package schema

import (
	"slices"
	"strings"
	"testing"
)

func TestRedactFilter(t *testing.T) {
	for text, want := range map[string]string{
		``:                                     ``,
		`userName eq "ann"`:                    `userName eq …`,
		`userName EQ "ann"`:                    `userName EQ …`,
		`userName pr`:                          `userName pr`,
		`active eq true`:                       `active eq …`, // a value even if it is a word
		`userName eq ann and title pr`:         `userName eq … and title pr`,
		`"ann" eq userName`:                    `… eq …`,
		`not (title co "x") or emails[a ne 1]`: `not ( title co … ) or emails [ a ne … ]`,
		`naïve pr`:                             `… pr`,
		`$E:manager.value sw "x"`:              EnterpriseURN + `:manager.value sw …`,
		strings.Repeat("a", 200) + ` pr`:       strings.Repeat("a", 200) + ` pr`,
		strings.Repeat("a", 201) + ` pr`:       `… pr`,
		`userName eq "`:                        `(unreadable)`,
		`eq eq eq eq`:                          `eq … eq …`,
		`a gt 1 b ge 1 c lt 1 d le 1 e ew 1`:   `a gt … b ge … c lt … d le … e ew …`,
		`) ] x`:                                `) ] x`,
		strings.Repeat("a ", 49):               strings.TrimSpace(strings.Repeat("a ", 49)),
		strings.Repeat("a ", 50):               strings.Repeat("a ", 50) + "…",
		strings.Repeat("a ", 51):               strings.Repeat("a ", 50) + "…",
	} {
		if got := RedactFilter(expand(text)); got != want {
			t.Errorf("%q is redacted to %q, want %q", text, got, want)
		}
	}
}

func TestChanges(t *testing.T) {
	for _, x := range []struct {
		before, after string
		want          []string
	}{
		{`{}`, `{}`, nil},
		{`{"title":"a"}`, `{"title":"a"}`, nil},
		{`{"title":"a","n":1}`, `{"title":"b","n":2,"x":{}}`, []string{"n", "title", "x"}},
		{`{"title":"a"}`, `{}`, []string{"title"}},
		{`{}`, `{"title":"a"}`, []string{"title"}},
		{`{"active":true}`, `{"active":false}`, []string{"active true → false"}},
		{`{}`, `{"active":true}`, []string{"active → true"}},
		{`{"active":"x"}`, `{"active":false}`, []string{"active → false"}},
		{`{"active":true}`, `{}`, []string{"active"}},
		{`{"name":{"a":1}}`, `{"name":{"a":2}}`, []string{"name"}},
		{`{"urn:x":{"a":1,"b":true,"c":1}}`, `{"urn:x":{"a":2,"b":false,"c":1}}`, []string{"urn:x:a", "urn:x:b true → false"}},
		{`{}`, `{"urn:x":{"a":1}}`, []string{"urn:x:a"}},
		{`{"urn:x":{"a":1}}`, `{}`, []string{"urn:x:a"}},
		{`{"urn:x":1}`, `{"urn:x":2}`, []string{"urn:x"}},
	} {
		if got := Changes(mustDecode(t, x.before), mustDecode(t, x.after)); !slices.Equal(got, x.want) {
			t.Errorf("from %s to %s changes %q, want %q", x.before, x.after, got, x.want)
		}
	}
	if got := Changes(nil, mustDecode(t, `{"a":1}`)); !slices.Equal(got, []string{"a"}) {
		t.Errorf("from nothing changes %q", got)
	}
	if got := Changes(mustDecode(t, `{"a":1}`), nil); !slices.Equal(got, []string{"a"}) {
		t.Errorf("to nothing changes %q", got)
	}
}
