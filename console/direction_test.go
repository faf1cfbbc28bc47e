package console_test

import (
	"net/http"
	"net/http/httptest"
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

func TestPages_NamesTurnNothing(t *testing.T) {
	pages, err := console.New()
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	pages.Sessions(w, http.StatusOK, console.Sessions{Person: console.Person{Name: "\u202ecalA", UserName: "al\u2067ice"}, Lines: []console.SessionLine{{ID: "1", Browser: "Firefox \u202d"}}})
	if page := w.Body.String(); strings.ContainsAny(page, "\u202d\u202e\u2067") || !strings.Contains(page, "<b>\uFFFDcalA</b> <bdi class=\"quiet\">al\uFFFDice</bdi>") {
		t.Errorf("the page of sessions: %s", page)
	}
}
