package bolt

import (
	"os"
	"syscall"
)

// syncData forces what was written to f to the disk, without the time of the change.
func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
