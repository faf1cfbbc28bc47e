package main

import (
	"syscall"
	"testing"
	"unsafe"
)

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
