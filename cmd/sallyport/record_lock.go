package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"sallyport/config"
	"sallyport/disk"
	"sallyport/store"
)

// lockPatience is how long a process waits for the lock of the record: one that ends, or begins another process, has it for a
// moment too long.
const lockPatience = time.Second

// lockRecord keeps other processes from writing to the audit record until release is called: two would break its chain. A
// store in a file has a lock that does so too; a database may be used by many, of which each has a record of its own.
func lockRecord(file *config.File) (release func(), err error) {
	if file.Store.Postgres == nil {
		return func() {}, nil
	}
	path := file.Audit.File + ".lock"
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the audit record: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = disk.OwnAs(path, filepath.Dir(path))
	}
	if err == nil {
		err = lockFile(f)
	}
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = fmt.Errorf("%w: it writes the audit record %s, and each replica needs one of its own", store.ErrLocked, file.Audit.File)
	case err != nil:
		err = fmt.Errorf("locking the audit record: %w", err)
	}
	if err != nil && f != nil {
		err = errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, err
}

// lockFile locks f, or returns EWOULDBLOCK if another process has it locked for longer than lockPatience.
func lockFile(f *os.File) error {
	const interval = 10 * time.Millisecond
	for end := time.Now().Add(lockPatience); ; time.Sleep(interval) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(end) {
			return err
		}
	}
}
