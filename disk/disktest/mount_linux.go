package disktest

import (
	"syscall"
	"testing"
)

// Mount mounts a disk of a size, such as "16m", at dir until the test ends. The test is skipped if that is not allowed.
func Mount(t testing.TB, dir, size string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("mounting a small disk: %v", err)
	}
	t.Cleanup(func() { Unmount(dir) })
}

// Unmount unmounts what is mounted at dir, also while files there are open.
func Unmount(dir string) { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }
