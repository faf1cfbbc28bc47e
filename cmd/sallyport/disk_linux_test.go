package main

import (
	"os"
	"syscall"
	"testing"
	"unsafe"
)

// mountDisk mounts a disk of size at path.
func mountDisk(t *testing.T, path, size string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("mounting a small disk: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(path, syscall.MNT_DETACH) })
}

// limitFiles makes every write of the running server fail beyond the first bytes of a file, until release is called.
func (r *running) limitFiles(t *testing.T, bytes uint64) (release func()) {
	t.Helper()
	var former syscall.Rlimit
	set := func(limit, old *syscall.Rlimit) {
		_, _, err := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(r.cmd.Process.Pid), syscall.RLIMIT_FSIZE,
			uintptr(unsafe.Pointer(limit)), uintptr(unsafe.Pointer(old)), 0, 0)
		if err != 0 {
			t.Fatal(err)
		}
	}
	set(nil, &former)
	set(&syscall.Rlimit{Cur: bytes, Max: former.Max}, nil)
	return func() { set(&former, nil) }
}
