package session

import (
	"strings"
	"testing"
	"time"
)

func TestTruncate_KeepsValidUTF8(t *testing.T) {
	full := strings.Repeat("a", 256)
	for name, c := range map[string]struct{ text, want string }{
		"empty":                         {"", ""},
		"of the greatest length":        {full, full},
		"one byte longer":               {full + "b", full},
		"a rune across the bound":       {full[:255] + "é", full[:255]},
		"a rune that ends at the bound": {full[:254] + "éx", full[:254] + "é"},
		"a long rune across the bound":  {full[:253] + "😀", full[:253]},
		"many invalid bytes":            {strings.Repeat("a\xff", 256), strings.Repeat("a\uFFFD", 64)},
		"invalid UTF-8":                 {"a\xffb", "a\uFFFDb"},
	} {
		if got := truncate(c.text); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestSettings_ZeroMeansDefault(t *testing.T) {
	if got := (Settings{}).withDefaults(); got != Defaults() {
		t.Errorf("the defaults are %+v", got)
	}
	own := Settings{Lifetime: time.Minute, Idle: time.Second, MaxSessions: 1}
	if got := own.withDefaults(); got != own {
		t.Errorf("%+v become %+v", own, got)
	}
}

func TestSettings_CheckBounds(t *testing.T) {
	const month = 30 * 24 * time.Hour
	for _, s := range []Settings{{time.Minute, time.Minute, 1}, {month, month, 1000}} {
		s.Check(func(path, problem string) { t.Errorf("%+v: %s: %s", s, path, problem) })
	}
	for _, s := range []Settings{{time.Minute - 1, time.Minute, 1}, {month + 1, month, 1}, {month, time.Minute - 1, 1}, {time.Hour, time.Minute, 0}, {time.Hour, time.Minute, 1001}} {
		faults := 0
		s.Check(func(string, string) { faults++ })
		if faults != 1 {
			t.Errorf("%+v has %d faults, want 1", s, faults)
		}
	}
}
