package main

import (
	"bytes"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sallyport/config"
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
	s := &server{file: &config.File{}, log: slog.New(slog.NewTextHandler(&logged, nil))}
	s.file.Limits.Listen.Connections = 10
	if n := s.maxConnections(); n != 10 || logged.Len() != 0 {
		t.Errorf("%d, %s", n, logged.String())
	}
	s.file.Limits.Listen.Connections = 1 << 30
	if n := s.maxConnections(); n > int(descriptors.Cur/2) || !strings.Contains(logged.String(), "too few file descriptors") {
		t.Errorf("%d, %s", n, logged.String())
	}
}

// TestReload_NamesConnectionLimitAsRestart: a changed limits.connections is one of the settings that need a restart.
func TestReload_NamesConnectionLimitAsRestart(t *testing.T) {
	old, changed := &config.File{}, &config.File{}
	changed.Limits.Listen.Connections = 10
	if keys := needRestart(old, changed); !slices.Equal(keys, []string{"limits.connections"}) {
		t.Errorf("the keys are %v", keys)
	}
	changed.Limits = old.Limits
	changed.Limits.Proxy.LiveRequests = 10
	if keys := needRestart(old, changed); len(keys) > 0 {
		t.Errorf("the keys are %v", keys)
	}
}
