//go:build !linux

package main

import "testing"

// limitFiles skips the test: only Linux can limit another process.
func (r *running) limitFiles(t *testing.T, _ uint64) (release func()) {
	t.Helper()
	t.Skip("limiting the files of another process needs Linux")
	return nil
}
