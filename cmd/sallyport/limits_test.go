package main

import (
	"bytes"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"sallyport/listen"
)

// TestLimitMemory_FollowsContainer: the heap is limited below the memory of the container, unless GOMEMLIMIT is set.
func TestLimitMemory_FollowsContainer(t *testing.T) {
	old := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(old)
	for _, c := range []struct {
		file, env string
		want      int64
	}{{"268435456\n", "", 241591904 / 10 * 10}, {"max\n", "", math.MaxInt64}, {"", "", math.MaxInt64}, {"1000", "1GiB", math.MaxInt64}} {
		debug.SetMemoryLimit(math.MaxInt64)
		t.Setenv("GOMEMLIMIT", c.env)
		file := filepath.Join(t.TempDir(), "memory.max")
		if err := os.WriteFile(file, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		limitMemory(file)
		if got := debug.SetMemoryLimit(-1); got/1000 != c.want/1000 {
			t.Errorf("%q with GOMEMLIMIT=%q: %d", c.file, c.env, got)
		}
	}
}

// TestMaxConnections_FollowsDescriptors: no more connections are accepted than there are file descriptors for, and the
// log says so.
func TestMaxConnections_FollowsDescriptors(t *testing.T) {
	var descriptors syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &descriptors); err != nil {
		t.Skip(err)
	}
	var logged bytes.Buffer
	s := &server{log: slog.New(slog.NewTextHandler(&logged, nil))}
	if n := s.maxConnections(listen.Limits{Connections: 10}); n != 10 || logged.Len() != 0 {
		t.Errorf("%d, %s", n, logged.String())
	}
	if n := s.maxConnections(listen.Limits{Connections: 1 << 30}); n > int(descriptors.Cur/2) || !strings.Contains(logged.String(), "too few file descriptors") {
		t.Errorf("%d, %s", n, logged.String())
	}
}
