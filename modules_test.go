package sallyport

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var requirement = regexp.MustCompile(`(?m)^\t(\S+) v([0-9.]+)`)

// TestPolicyBenchmark_RequiresWhatWeDo compares the versions of bench/policy/go.mod, a module that requires this one, with those
// of go.mod: the go command refuses to build it with older ones.
func TestPolicyBenchmark_RequiresWhatWeDo(t *testing.T) {
	versions := map[string][]int{}
	for _, path := range []string{"go.mod", "bench/policy/go.mod"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range requirement.FindAllStringSubmatch(string(text), -1) {
			var version []int
			for part := range strings.SplitSeq(m[2], ".") {
				n, _ := strconv.Atoi(part)
				version = append(version, n)
			}
			if ours, ok := versions[m[1]]; ok && slices.Compare(version, ours) < 0 {
				t.Errorf("bench/policy/go.mod requires an older %s than go.mod; run go mod tidy there", m[1])
			}
			if path == "go.mod" {
				versions[m[1]] = version
			}
		}
	}
	if len(versions) < 30 {
		t.Errorf("go.mod has only %d requirements", len(versions))
	}
}
