package console_test

import (
	"strings"
	"testing"

	"sallyport/console"
)

func TestStraighten(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "",
		"a\u202ab\u202bc\u202cd\u202de\u202ef": "a\uFFFDb\uFFFDc\uFFFDd\uFFFDe\uFFFDf",
		"\u2066\u2067\u2068\u2069":             strings.Repeat("\uFFFD", 4),
		"–’… \u2029\u202f\u2065\u206a":         "–’… \u2029\u202f\u2065\u206a",
		"שרה \u200f(\u200e1)":                  "שרה \u200f(\u200e1)", // marks are letters that nobody sees, and change nothing behind them
		"\xe2":                                 "\xe2",
		"\xe2\x80":                             "\xe2\x80",
		"\xe2\xe2\x80\xae":                     "\xe2\uFFFD",
	} {
		if got := console.Straightened(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
