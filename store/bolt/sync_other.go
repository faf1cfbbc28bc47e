//go:build !linux

package bolt

import "os"

// syncData forces what was written to f to the disk.
func syncData(f *os.File) error { return f.Sync() }
