package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"sallyport/config"
	"sallyport/disk"
	"sallyport/store"
	"sallyport/store/bolt"
)

// restorePlace is where a restore puts a store, in the words of its engine.
type restorePlace interface {
	// part is the path at which the store is made that is put in place.
	part() string
	// lock demands that no server runs and that nothing else is put here, until release is called.
	lock(ctx context.Context) (release func(), err error)
	// former opens the store in place to read it, while it is locked. A store that is damaged may be replaced, which a note tells; one of a newer
	// version may not.
	former(ctx context.Context) (f formerStore, notes []string, err error)
	// after returns the revision after which those of the restored store come.
	after(ctx context.Context, former formerStore) (store.Revision, error)
	// put puts the closed store at part in place, in one step, and keeps the former one. It returns where that is; "" if there was none.
	put(ctx context.Context) (former string, err error)
	// like is the file or folder whose owner gets the files that are made.
	like() string
}

func newRestorePlace(file *config.File) restorePlace {
	if p := file.Store.Postgres; p != nil {
		return &databaseRestore{urlFile: p.URLFile, folder: filepath.Dir(file.Audit.File)}
	}
	return fileRestore(file.Store.Bolt.Path)
}

// fileRestore is the path of a data file.
type fileRestore string

func (p fileRestore) part() string { return string(p) + ".restoring" }
func (p fileRestore) like() string { return string(p) }

// lock implements restorePlace: the store itself is locked when it is opened.
func (p fileRestore) lock(context.Context) (release func(), err error) { return lockRestore(string(p)) }

// lockRestore demands that no other restore or copy is under way. It holds the folder of the store until the returned function
// is called.
func lockRestore(path string) (release func(), err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another restore or copy to %s is under way", path), folder.Close())
	}
	return func() { _ = folder.Close() }, nil
}

// former implements restorePlace. It demands that no server runs.
func (p fileRestore) former(context.Context) (f formerStore, notes []string, err error) {
	st, err := bolt.Open(string(p), bolt.Options{Inspect: true, Timeout: 200 * time.Millisecond})
	return openedFormer(st, err)
}

func (p fileRestore) after(_ context.Context, former formerStore) (store.Revision, error) {
	return max(bolt.Acknowledged(string(p)), former.revision()), nil
}

// put implements restorePlace.
func (p fileRestore) put(context.Context) (former string, err error) {
	path, part := string(p), p.part()
	like := filepath.Dir(path)
	if _, err := os.Lstat(path); err == nil {
		like = path
	}
	if err := disk.OwnAs(part, like); err != nil {
		return "", err
	}
	if like == path {
		former = path + ".replaced-" + time.Now().UTC().Format("20060102T150405.000000Z")
		if err := os.Link(path, former); err != nil {
			return "", err
		}
	}
	if err := os.Rename(part, path); err != nil {
		return "", err
	}
	return former, errors.Join(syncFolder(filepath.Dir(path)), bolt.ForgetAcknowledged(path))
}

// formerStore is the store in whose place a backup is put.
type formerStore struct {
	store store.Store // nil: there is none, or it cannot be read
}

// openedFormer returns the store that was opened, or says what it means that it was not.
func openedFormer(st store.Store, err error) (f formerStore, notes []string, failed error) {
	switch {
	case err == nil:
		return formerStore{st}, nil, nil
	case errors.Is(err, store.ErrLocked):
		return f, nil, stopFirst(err)
	case errors.Is(err, store.ErrNewer), errors.Is(err, store.ErrUnfinished):
		return f, nil, err
	case errors.Is(err, store.ErrMissing):
		return f, []string{"there is no store in place that could say what took access away since the backup was made"}, nil
	}
	return f, []string{fmt.Sprintf("the store in place cannot say what took access away since the backup was made: %v", err)}, nil
}

func (f formerStore) close() {
	if f.store != nil {
		_ = f.store.Close()
	}
}

func (f formerStore) revision() (revision store.Revision) {
	if f.store != nil {
		_ = f.store.View(context.Background(), func(r store.Reader) error { revision = r.Revision(); return nil })
	}
	return revision
}
