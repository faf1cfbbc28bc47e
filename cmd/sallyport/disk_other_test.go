//go:build !linux

package main

import "testing"

// mountDisk skips the test: only Linux can mount a small disk like this.
func mountDisk(t *testing.T, _, _ string) {
	t.Helper()
	t.Skip("mounting a small disk needs Linux")
}

// limitFiles skips the test: only Linux can limit another process.
func (r *running) limitFiles(t *testing.T, _ uint64) (release func()) {
	t.Helper()
	t.Skip("limiting the files of another process needs Linux")
	return nil
}
