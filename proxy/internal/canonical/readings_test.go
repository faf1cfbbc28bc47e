package canonical

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
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
		if strings.Trim(c.path, "/abcdef%CA9023") == "" && len(c.want) == 1 && len(readings) != 1 {
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
		"an escape of another standard":  "/a%25u002fb",
		"the same in another layer":      "/%2525U2215b",
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
	for _, seed := range []string{"/admin%2Fsecret", "/docs/;/secret/x", "/admin%253Bx/secret", "/%2Fadmin", `/a\b`, "/a%23/b%3Fc", "/a//b;c", "/%25%36%31dmin", "/a%25u002fb"} {
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

func TestFold(t *testing.T) {
	for path, want := range map[string]string{
		"/": "/", "/ADMIN/Secret": "/admin/secret", "/ａｄｍｉｎ": "/admin", "/ＡＤＭＩＮ/": "/admin/", "/admin. ./x": "/admin/x", "/admin /x ": "/admin/x",
		"/adm\u0131n": "/admin", "/adm\u0130n": "/admin", "/\u017fecret": "/secret", "/\u212aey": "/key", "/stra\u00dfe": "/strasse", "/STRASSE": "/strasse",
		"/s\u00e9cret": "/secret", "/se\u0301cret": "/secret", "/sec\u200dret\ufeff": "/secret", "/sec\u00adret": "/secret", "/admin\u00a0": "/admin", "/admin\u3000": "/admin",
		"/admin\uff0fsecret": "/admin/secret", "/admin\u2215secret": "/admin/secret", "/admin\u00a5secret": `/admin\secret`, "/admin\uff1bx": "/admin;x", "/\uff05": "/%",
		"/..": "/.", "/ .. ": "/.", "/...": "/.", "/\u2025": "/.", "/\uff0e\uff0e/x": "/./x", "/a.b": "/a.b", "/.hidden": "/.hidden", "/Ω": "/ω", "/ΣΑΣ": "/σασ", "/σας": "/σασ",
	} {
		if got := Fold(path); got != want {
			t.Errorf("%q is folded to %q, want %q", path, got, want)
		}
		if again := Fold(want); again != want && !strings.ContainsAny(want, ".") {
			t.Errorf("%q is folded to %q", want, again)
		}
	}
}

func TestFoldedReadings(t *testing.T) {
	for _, c := range []struct{ path, want string }{
		{"/admin/secret", "/admin/secret"}, {"/ADMIN", "/admin"}, {"/admin%20/x", "/admin/x"}, {"/a./%20/secret", "/a/secret"},
		{"/secret::$DATA", "/secret"}, {"/Secret:$i30:$INDEX_ALLOCATION/x", "/secret/x"}, {"/admin%EF%BC%8Fsecret", "/admin/secret"},
		{"/admin%EF%BC%9Bx/secret", "/admin/secret"}, {"/%EF%BC%852561DMIN", "/admin"}, {"/ADMIN%252FSecret", "/admin/secret"}, {"/%25C3%2589", "/e"},
		{"/%5Ca%E2%88%95secret%2Fdocs%E2%80%A5", "/docs"}, // the host is taken before letters are folded
	} {
		if got, err := FoldedReadings(c.path); err != nil || !slices.Contains(got, c.want) {
			t.Errorf("%s: %q, %v; lacks %q", c.path, got, err, c.want)
		}
	}
	for _, path := range []string{"/a/...", "/a/%20..%20/b", "/a/%E2%80%A5/b", "/a/%EF%BC%8E%EF%BC%8E/b", "/a/.%20./b", "/a/%2F%EF%BC%8E%EF%BC%8E", "/a%5C%E2%80%A5%3Bx", "/a/%252F..%20%3F", "/%EF%BC%85u002fa"} {
		if got, err := FoldedReadings(path); err == nil && path != "/a/.%20./b" {
			t.Errorf("%s: %q", path, got)
		}
	}
}

// TestFoldedReadings_PartsOfFold: servers apply the parts of Fold apart from each other. Where segments become others, both
// readings are returned.
func TestFoldedReadings_PartsOfFold(t *testing.T) {
	for path, want := range map[string][]string{
		"/x%EF%BC%8F%E2%93%90dmin%2Fsec%CC%81ret/": {"/x\uff0fadmin/secret/", "/x/admin/secret/", "/x\uff0fadmin%2fsecret/"},
		"/x%E2%88%95Y/%C3%89":                      {"/x\u2215y/e", "/x/y/e"},
		"/a%E2%88%95b%EF%BC%8Fc%E2%81%84D":         {"/a\u2215b\uff0fc\u2044d", "/a/b\uff0fc\u2044d", "/a\u2215b/c\u2044d", "/a\u2215b\uff0fc/d", "/a/b/c\u2044d", "/a/b/c/d"},
		"/%C2%BDX":                                 {"/\u00bdx", "/1\u20442x", "/1/2x"},
		"/%E2%84%80/X":                             {"/\u2100/x", "/a/c/x"},
		"/a%EF%BC%BCB":                             {`/a\b`, "/a/b"},
		"/a%EF%BC%9BB/c":                           {"/a;b/c", "/a/c", "/a"},
		"/a/%20/B":                                 {"/a/ /b", "/a//b", "/a/b"},
		"/A/%20%20":                                {"/a/ ", "/a/"},
		"/sec%CD%85ret":                            {"/secret", "/sec\u03b9ret"},
		"/%E1%BE%B3":                               {"/\u03b1", "/\u03b1\u03b9"},
		"/secret%CD%BA":                            {"/secret", "/secret \u03b9"},
		"/%CD%85/x%CD%BA":                          {"/\u03b9/x", "/\u03b9/x \u03b9", "/x"},
		"/%CE%B1%CD%85/%E1%BE%B3/x%CD%85":          {"/\u03b1/\u03b1/x", "/\u03b1/\u03b1/x\u03b9", "/\u03b1\u03b9/\u03b1/x\u03b9", "/\u03b1\u03b9/\u03b1\u03b9/x\u03b9"},
		"/A:$x/b::$DATA/c:$I30:$INDEX_ALLOCATION":  {"/a:$x/b/c", "/a/b/c", "/a:$x/b::$data/c:$i30:$index_allocation"},
		"/%CC%81a/b%E2%80%8D":                      {"/a/b"},
	} {
		got, err := FoldedReadings(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		for _, reading := range want {
			if !slices.Contains(got, reading) {
				t.Errorf("%s: %q lack %q", path, got, reading)
			}
		}
	}
	for _, path := range []string{"/a/%CC%81/b", "/%E2%80%8D", "/a/%C2%A0/", "/a/%E3%80%80", "/a/%C2%A8", "/a%EF%BC%8F%CC%81%EF%BC%8Fb", "/a/%CC%81%EF%BC%9Bx", "/a/%CC%81%EF%BC%852f", "/a%EF%BC%BC%CC%81%EF%BC%BCb",
		"/a/%20%CC%81/b", "/a%E2%81%84%EF%BB%BF%E2%88%95b", "/a%E2%88%95b%EF%BC%8Fc%E2%81%84d%E2%A7%B8e%C2%BD%E2%84%80%3Bx"} {
		if got, err := FoldedReadings(path); err == nil {
			t.Errorf("%s: %q", path, got)
		}
	}
}

// TestFold_NoOrderMatters: whatever parts of Fold a server applies to a character, in whatever order, the rest is folded
// to the same text. The iota subscript is the one exception, which FoldedReadings knows.
func TestFold_NoOrderMatters(t *testing.T) {
	parts := []func(string) string{strings.ToLower, strings.ToUpper, strings.ToTitle, cases.Fold().String, cases.Lower(language.Und).String, cases.Upper(language.Und).String,
		norm.NFC.String, norm.NFD.String, norm.NFKC.String, norm.NFKD.String, without(unicode.Mn, unicode.Me), without(unicode.Cf, unicode.Other_Default_Ignorable_Code_Point)}
	for r := rune(0xa0); r < 0x20000; r++ {
		if r >= 0x3400 && r < 0xa000 || r >= 0xac00 && r < 0xf900 { // ideographs, Hangul, surrogates, private use
			continue
		}
		text := "/x" + string(r) + "y"
		if strings.ContainsAny(norm.NFKD.String(text), "\u0345") {
			continue
		}
		want, seen := Fold(text), []string{text}
		for i := 0; i < len(seen); i++ {
			for _, part := range parts {
				if next := part(seen[i]); !slices.Contains(seen, next) {
					seen = append(seen, next)
				}
			}
			if got := Fold(seen[i]); got != want {
				t.Fatalf("%q is folded to %q, but %q to %q", text, want, seen[i], got)
			}
		}
	}
}

func without(tables ...*unicode.RangeTable) func(string) string {
	return func(text string) string {
		return strings.Map(func(r rune) rune {
			if unicode.In(r, tables...) {
				return -1
			}
			return r
		}, text)
	}
}

// FuzzFold checks that a folded path stays what it is, and that paths that differ in case alone are folded alike.
func FuzzFold(f *testing.F) {
	for _, seed := range []string{"/ADMIN/secret", "/ａｄｍｉｎ", "/adm\u0131n. ", "/stra\u00dfe", "/\u2025/x", "/secret::$DATA", "/\u0345", "/\u1fb7"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if !isText([]byte(path)) {
			return
		}
		folded := Fold(path)
		if again := Fold(folded); again != folded {
			t.Errorf("%q is folded to %q, and that to %q", path, folded, again)
		}
		for _, other := range []string{strings.ToUpper(path), strings.ToLower(path), strings.ToTitle(path)} {
			if Fold(other) != folded {
				t.Errorf("%q is folded to %q, but %q to %q", path, folded, other, Fold(other))
			}
		}
	})
}
