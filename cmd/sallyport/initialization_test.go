package main

import (
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// maxInitialization is what one of our packages may allocate before main begins.
const maxInitialization = 64 << 10

// TestInitialization_IsCheap: every verb and every start waits until all packages are initialized, so that what takes long,
// such as compiling a regular expression, is done at its first use.
func TestInitialization_IsCheap(t *testing.T) {
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "version")
	cmd.Env = append(cmd.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	traced := regexp.MustCompile(`(?m)^init (sallyport/\S+|main) .* (\d+) bytes, \d+ allocs$`).FindAllSubmatch(out, -1)
	if len(traced) < 10 {
		t.Fatalf("the trace has only %d packages of ours:\n%s", len(traced), out)
	}
	for _, p := range traced {
		if bytes, err := strconv.Atoi(string(p[2])); err != nil || bytes > maxInitialization {
			t.Errorf("initializing package %s allocates %s bytes, more than %d: let what is not always needed be made at its first use", p[1], p[2], maxInitialization)
		}
	}
}
