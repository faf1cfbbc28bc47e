// Package disk allocates blocks of files before they are needed.
//
// Writing into allocated blocks does not fail because the disk is full, on file systems
// that write in place (ext4, XFS, tmpfs). On those that copy on write (Btrfs, ZFS) it may.
package disk

import (
	"errors"
	"os"
	"syscall"
)

// A reserve is at most this part of its file system, and none is kept if that is less
// than minReserve.
const (
	part       = 8
	minReserve = 64 << 10
)

// Extend allocates blocks for the first size bytes of f, and makes f that long if it is
// shorter. If it fails, f is as long as before. The error is [errors.ErrUnsupported] if
// the system or the file system cannot do it, and IsFull if there is no space.
func Extend(f *os.File, size int64) error { return allocate(f, 0, 0, size) }

// Keep allocates blocks for size bytes of f from offset on, which may be beyond its
// end. The length of f stays the same. The errors are those of Extend.
func Keep(f *os.File, offset, size int64) error { return allocate(f, keepSize, offset, size) }

// IsFull reports whether err means that a file cannot grow: its disk is full, a quota
// is used up, or the process may not make files that large.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// Reserve returns how many bytes can reasonably be reserved on the file system of f,
// where want are wished for: 0 if that system is very small.
func Reserve(f *os.File, want int64) int64 {
	total, err := capacity(f)
	if err != nil {
		return want
	}
	if reserve := min(want, total/part); reserve >= minReserve {
		return reserve
	}
	return 0
}
