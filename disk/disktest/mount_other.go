//go:build !linux

package disktest

import "testing"

// Mount skips the test: it needs Linux.
func Mount(t testing.TB, _, _ string) {
	t.Helper()
	t.Skip("mounting a small disk needs Linux")
}

// Unmount does nothing, since nothing is mounted.
func Unmount(string) {}
