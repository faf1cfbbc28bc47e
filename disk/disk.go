// Package disk allocates blocks of files before they are needed, and maps files into memory for reading.
//
// Writing into allocated blocks does not fail because the disk is full, on file systems
// that write in place (ext4, XFS, tmpfs). On those that copy on write (Btrfs, ZFS) it may.
package disk

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// A reserve is at most this part of its file system, and none is kept if that is less
// than minReserve.
const (
	part       = 8
	minReserve = 64 << 10
)

// Extend fills f with zeros from the offset from on, up to size bytes, and forces it to
// the disk. If it fails, f is not longer than before. The error is [errors.ErrUnsupported]
// if the system or the file system cannot allocate blocks, and IsFull if there is no space.
//
// Blocks that were only allocated are not enough: writing into them changes what the file
// system notes of them, and if that fails once, ext4 may lose what is written later.
func Extend(f *os.File, from, size int64) (err error) {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Truncate(min(info.Size(), size)) // which forgets the blocks, and what failed in them
		}
	}()
	if err := allocate(f, 0, 0, size); err != nil {
		return err
	}
	zeros := make([]byte, 1<<20)
	for ; from < size; from += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-from)], from); err != nil {
			return fmt.Errorf("allocating %d bytes of %s: %w", size, f.Name(), err)
		}
	}
	return f.Sync()
}

// IsWhole reports whether every block of f has been written.
func IsWhole(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	offset, err := f.Seek(0, seekHole)
	return err == nil && offset >= info.Size()
}

// Forget makes the kernel forget what it remembers of f: the next reads are of the disk.
// After a failed fsync, what it remembers may differ from the disk, and ext4 takes blocks
// for written that are not, so that it would lose what is written into them next. Pages that
// are mapped, or could still be written, are not forgotten, so Forget has them written first.
func Forget(f *os.File) error {
	_ = f.Sync() // whether it fails does not matter: afterwards no page waits to be written
	return forget(f)
}

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
