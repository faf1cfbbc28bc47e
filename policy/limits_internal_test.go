package policy

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseClock_Minutes(t *testing.T) {
	for text, want := range map[string]int{"00:00": 0, "00:01": 1, "08:30": 510, "23:59": 1439, "24:00": 1440, "24:01": -1, "8:00": -1, "": -1} {
		if got := parseClock(text, func(string, string) {}); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestHours_String(t *testing.T) {
	for want, h := range map[string]*Hours{"": {}, "mon-fri": {Days: []string{"mon-fri"}}, "08:00-24:00": {From: "08:00"}, "00:00-18:00 UTC": {To: "18:00", Zone: "UTC"}, "sat, sun 08:00-09:00": {Days: []string{"sat", "sun"}, From: "08:00", To: "09:00"}} {
		if got := h.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSuggestAttribute_Distance(t *testing.T) {
	for name, want := range map[string]string{"titel": "; did you mean title?", "til": "", "tixxx": "", "DEPARTMENT": "; did you mean department?", "departement": "; did you mean department?", "depart": ""} {
		if got := SuggestAttribute(name, []string{"title", "department"}); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestLogin_CoversAges(t *testing.T) {
	hour, day := &Login{MaxAge: time.Hour}, &Login{MaxAge: 24 * time.Hour}
	for _, c := range []struct {
		l, other *Login
		want     bool
	}{{nil, nil, true}, {nil, hour, true}, {hour, nil, false}, {hour, hour, true}, {day, hour, true}, {hour, day, false}, {hour, &Login{}, false}, {&Login{}, hour, true}} {
		if got := c.l.covers(c.other); got != c.want {
			t.Errorf("%v covers %v: %t, want %t", c.l, c.other, got, c.want)
		}
	}
}

func TestLogin_Valid(t *testing.T) {
	long := strings.Repeat("a", maxAuthValue)
	for _, c := range []struct {
		values []string
		want   bool
	}{{nil, true}, {make8("a"), true}, {append(make8("a"), "b"), false}, {[]string{long}, true}, {[]string{long + "a"}, false}, {[]string{""}, false},
		{[]string{"!"}, true}, {[]string{"~"}, true}, {[]string{" "}, false}, {[]string{"\x7f"}, false}, {[]string{`"`}, false}} {
		if got := (&Login{ACR: c.values}).Valid(); got != c.want {
			t.Errorf("%.40q: %t, want %t", c.values, got, c.want)
		}
	}
}

func make8(text string) []string { return slices.Repeat([]string{text}, maxAuthValues) }
