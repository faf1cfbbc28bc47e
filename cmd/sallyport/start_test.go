package main

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// failing is a test within a test, which may fail.
type failing struct {
	testing.TB
	cleanups []func()
	message  []any
}

func (f *failing) Helper()           {}
func (f *failing) Cleanup(fn func()) { f.cleanups = append(f.cleanups, fn) }

func (f *failing) Fatal(args ...any) {
	f.message = args
	runtime.Goexit()
}

// TestStart_FailsByFaultOfConfiguration: a test whose configuration has a fault fails at once, and says which.
func TestStart_FailsByFaultOfConfiguration(t *testing.T) {
	w := newWorld(t)
	w.rewrite("public_url:", "publik_url:")
	f, ended := &failing{TB: t}, make(chan struct{})
	go func() {
		defer close(ended)
		defer func() {
			for _, fn := range f.cleanups {
				fn()
			}
		}()
		start(f, w.dir, "--init")
	}()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("start hangs")
	}
	if len(f.message) != 1 || !strings.Contains(f.message[0].(error).Error(), "publik_url") {
		t.Errorf("the test fails by %v", f.message)
	}
}
