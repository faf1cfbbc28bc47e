package policy_test

import (
	"strings"
	"testing"

	"sallyport/policy"
)

func TestDistance(t *testing.T) {
	long := strings.Repeat("a", 64)
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"idle", "idle", 0}, {"idel", "idle", 2}, {"kitten", "sitting", 3},
		{"ab", "b", 1}, {"b", "ab", 1}, {"abc", "xbc", 1}, {"abcd", "acbd", 2}, {"flaw", "lawn", 2},
		{long, "", 64}, {long, long, 0}, {long + "a", long + "a", 65}, // longer texts are not compared
	} {
		if got := policy.Distance(c.a, c.b); got != c.want {
			t.Errorf("Distance(%q, %q) is %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
