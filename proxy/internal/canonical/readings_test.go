package canonical

import (
	"slices"
	"strings"
	"testing"
)

func TestReadings(t *testing.T) {
	for _, c := range []struct {
		path string
		want []string // among others, the first first
	}{
		{"/", []string{"/"}},
		{"/caf%C3%A9/a%20b", []string{"/café/a b"}},
		{"/a%2Fb/", []string{"/a%2Fb/", "/a/b/"}},
		{"/a%5Cb", []string{"/a%5Cb", `/a\b`, "/a/b"}},
		{"/a%252Fb", []string{"/a%252Fb", "/a%2Fb", "/a/b"}},
		{"/a;v=1/b;c", []string{"/a;v=1/b;c", "/a/b", "/a;v=1/b", "/a"}},
		{"/a%3Bv/b", []string{"/a%3Bv/b", "/a;v/b", "/a/b", "/a"}},
		{"/a/;/b", []string{"/a/;/b", "/a//b", "/a/b", "/a/"}},
		{"/a//b//", []string{"/a//b//", "/a/b/"}},
		{"/a%23b%3Fc", []string{"/a%23b%3Fc", "/a#b?c", "/a"}},
		{"/%2Fhost/b", []string{"/%2Fhost/b", "//host/b", "/host/b", "/b"}},
		{"/%2573ecret", []string{"/%2573ecret", "/%73ecret", "/secret"}},
		{"/x%2Fy/docs/%3Bz/secret", []string{"/x%2Fy/docs/%3Bz/secret", "/x%2Fy/docs/secret"}},
	} {
		readings, err := Readings(c.path)
		if err != nil || readings[0] != c.want[0] {
			t.Errorf("%s: %q, %v", c.path, readings, err)
		}
		for _, want := range c.want {
			if !slices.Contains(readings, want) {
				t.Errorf("%s: %q lack %q", c.path, readings, want)
			}
		}
		if strings.Trim(c.path, "/abcdef%CA90233") == "" && len(c.want) == 1 && len(readings) != 1 {
			t.Errorf("%s: a strict path has the readings %q", c.path, readings)
		}
	}
}

func TestReadings_RejectsWhatNoRuleCanCover(t *testing.T) {
	for name, path := range map[string]string{
		"a dot segment before #":         "/a/..%23/b",
		"a dot segment before ?":         "/a/.%3Fx",
		"a dot segment of another layer": "/a/..%2523/b",
		"a control character":            "/a%2500/b",
		"invalid UTF-8":                  "/a%25C0%25AFb",
		"too many readings":              "/a;b%2Fc%5Cd%3Be%23f%3Fg%25h//i;j%2Fk",
		"too many layers":                "/a%" + strings.Repeat("25", maxReadings) + "2Fb",
		"too much text":                  "/a;" + strings.Repeat("%2Fb", 1000) + "%23//" + strings.Repeat("c", 4000) + "%5C",
	} {
		if readings, err := Readings(path); err == nil {
			t.Errorf("%s: %q", name, readings)
		}
	}
}

// FuzzReadings checks that the readings of a path are those of all their results, and that no reading has a dot segment.
func FuzzReadings(f *testing.F) {
	for _, seed := range []string{"/admin%2Fsecret", "/docs/;/secret/x", "/admin%253Bx/secret", "/%2Fadmin", `/a\b`, "/a%23/b%3Fc", "/a//b;c", "/%25%36%31dmin"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		path, lenient, err := Path(raw)
		if err != nil {
			return
		}
		readings, err := Readings(path)
		if err != nil {
			if !lenient {
				t.Errorf("%q is strict: %v", path, err)
			}
			return
		}
		if !lenient && (len(readings) != 1 || readings[0] != Decoded(path)) {
			t.Errorf("%q is strict and read as %q", path, readings)
		}
		for _, reading := range readings {
			if findsDotSegment(reading) || !strings.HasPrefix(reading, "/") {
				t.Errorf("%q is read as %q", path, reading)
			}
			for _, step := range steps {
				next := step(reading)
				if !strings.HasPrefix(next, "/") {
					next = "/" + next
				}
				if !slices.Contains(readings, next) {
					t.Errorf("%q is read as %q, but not as %q", path, reading, next)
				}
			}
		}
	})
}
