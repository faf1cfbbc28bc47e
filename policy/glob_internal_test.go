package policy

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestGlob_EqualsRegexp compares with a regular expression built from the pattern.
func TestGlob_EqualsRegexp(t *testing.T) {
	segment := rapid.SampledFrom([]string{"", "a", "b", "ab", "*"})
	path := rapid.Custom(func(t *rapid.T) string {
		return "/" + strings.Join(rapid.SliceOfN(segment, 0, 4).Draw(t, "segments"), "/")
	})
	rapid.Check(t, func(t *rapid.T) {
		pattern := path.Draw(t, "pattern") + rapid.SampledFrom([]string{"", "/**"}).Draw(t, "tail")
		if globProblem(pattern) != "" {
			t.Skip("not a pattern")
		}
		stem, below := strings.CutSuffix(pattern, "/**")
		form := strings.ReplaceAll(regexp.QuoteMeta(stem), `/\*`, "/[^/]+")
		if below {
			form += "(/.*)?"
		}
		g, p := parseGlob(pattern), path.Draw(t, "path")
		if got, want := g.matches(p), regexp.MustCompile("^"+form+"$").MatchString(p); got != want {
			t.Fatalf("%s matches %s: %v, want %v", pattern, p, got, want)
		}
		if pattern != "/" {
			form = strings.TrimSuffix(form, "/") + "/?"
		}
		g = parseDenyGlob(pattern)
		if got, want := g.matches(p), regexp.MustCompile("^"+form+"$").MatchString(p); got != want {
			t.Fatalf("%s denies %s: %v, want %v", pattern, p, got, want)
		}
	})
}
