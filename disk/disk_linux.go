package disk

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	keepSize = 1 // FALLOC_FL_KEEP_SIZE
	seekHole = 4 // SEEK_HOLE
)

func forget(f *os.File) error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

func allocate(f *os.File, mode uint32, offset, size int64) error {
	if size <= 0 {
		return nil
	}
	for {
		err := syscall.Fallocate(int(f.Fd()), mode, offset, size)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("allocating %d bytes of %s: %w", size, f.Name(), err)
		}
		return nil
	}
}

// capacity returns the size of the file system of f.
func capacity(f *os.File) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.Fd()), &s); err != nil {
		return 0, err
	}
	if s.Blocks > uint64(math.MaxInt64/max(s.Bsize, 1)) {
		return math.MaxInt64, nil
	}
	return int64(s.Blocks) * s.Bsize, nil //nolint:gosec // bounded above
}

// mapFile maps the first size bytes of f into memory, for reading.
func mapFile(f *os.File, size int64) ([]byte, error) {
	if size != int64(int(size)) {
		return nil, errors.ErrUnsupported
	}
	return unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
}

func unmapFile(data []byte) { _ = unix.Munmap(data) }

func prefetch(data []byte) { _ = unix.Madvise(data, unix.MADV_POPULATE_READ) }
