package admin_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/admin"
)

func TestDiffLines_ShowsWhatDiffers(t *testing.T) {
	got, cut := admin.DiffLines("a\nb\nc\nd\ne\nf\ng\nh\n", "a\nb\nc\nd\nX\nf\ng\nh\ni\n")
	var text []string
	for _, line := range got {
		text = append(text, line.Sign+line.Text)
	}
	want := []string{"@", " c", " d", "-e", "+X", " f", " g", " h", "+i"}
	if !slices.Equal(text, want) || cut {
		t.Errorf("%q, want %q", text, want)
	}
	if got, cut = admin.DiffLines("a\n", "a\n"); got != nil || cut {
		t.Errorf("the same text: %v", got)
	}
	if got, cut = admin.DiffLines(strings.Repeat("a\n", 5000), strings.Repeat("b\n", 5000)); !cut || len(got) > 500 {
		t.Errorf("long texts: %d lines, cut %t", len(got), cut)
	}
}

// TestDiffLines_MakesOneOfTheOther: without the lines that are left out, which are equal, the lines of one text become those of
// the other.
func TestDiffLines_MakesOneOfTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 5)
		old, now := lines.Draw(t, "old"), lines.Draw(t, "now")
		text := func(lines []string) string { return strings.Join(append(slices.Clone(lines), ""), "\n") }
		var before, after []string
		got, _ := admin.DiffLines(text(old), text(now))
		for _, line := range got {
			if line.Sign == "@" {
				return // covered by the other test
			}
			if line.Sign != "+" {
				before = append(before, line.Text)
			}
			if line.Sign != "-" {
				after = append(after, line.Text)
			}
		}
		if len(got) > 0 && (!slices.Equal(before, old) || !slices.Equal(after, now)) {
			t.Fatalf("%v makes %q of %q", got, after, before)
		}
		if len(got) == 0 && !slices.Equal(old, now) {
			t.Fatalf("no difference between %q and %q", old, now)
		}
	})
}
