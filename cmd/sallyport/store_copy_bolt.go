package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sallyport/backup"
	"sallyport/disk"
	"sallyport/store"
	"sallyport/store/bolt"
)

// lockTimeout is how long a copy waits for a file that another process has locked.
const lockTimeout = 200 * time.Millisecond

// boltPlace is the absolute path of a data file.
type boltPlace string

func newBoltPlace(path string) (place, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if resolved, err := filepath.EvalSymlinks(absolute); err == nil {
		absolute = resolved
	} else if folder, err := filepath.EvalSymlinks(filepath.Dir(absolute)); err == nil {
		absolute = filepath.Join(folder, filepath.Base(absolute))
	}
	return boltPlace(absolute), nil
}

// String implements place.
func (p boltPlace) String() string { return "bolt:" + string(p) }

func (p boltPlace) advice() string { return fmt.Sprintf("bolt: {path: %s}", string(p)) }

// err implements place: the file is locked as long as it is open.
func (p boltPlace) err(context.Context) error { return nil }

func (p boltPlace) same(other place) bool {
	o, ok := other.(boltPlace)
	if !ok {
		return false
	}
	for _, suffix := range []boltPlace{"", ".revision", ".pid"} { // which belong to the store
		if p+suffix == o || p == o+suffix {
			return true
		}
	}
	ours, err := os.Stat(string(p))
	theirs, failed := os.Stat(string(o))
	return err == nil && failed == nil && os.SameFile(ours, theirs)
}

func (p boltPlace) lock(context.Context) (release func(), err error) {
	if info, err := os.Stat(filepath.Dir(string(p))); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("there is no folder %s; make it, so that the user of the server can write in it", filepath.Dir(string(p)))
	}
	return lockRestore(string(p))
}

func (p boltPlace) read(context.Context) (store.Store, error) {
	st, err := p.open(bolt.Options{Inspect: true})
	if err != nil {
		return nil, err
	}
	err = st.CheckAcknowledged()
	if err != nil {
		err = fmt.Errorf("%s: %w; restore a backup with `sallyport restore FILE`, or accept the loss with `sallyport store accept-loss`, and copy then", p, err)
	}
	if err := errors.Join(err, demandNoCopy(st, p)); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return st, nil
}

// demandNoCopy demands that a store is no copy that `backup` of earlier versions made.
func demandNoCopy(st store.Store, at place) error {
	marked, err := hasKey(st, copyKey)
	if marked {
		err = fmt.Errorf("%s is a backup that an earlier version made; put it in place with `sallyport restore FILE`, and copy then", at)
	}
	return err
}

func (p boltPlace) look(context.Context) (store.Store, error) {
	if missing, err := p.missing(); err != nil || missing {
		return nil, err
	}
	st, err := p.open(bolt.Options{Inspect: true, Into: true})
	if err != nil {
		return nil, fmt.Errorf("the target cannot be used: %w; name another place with --to", err)
	}
	return st, nil
}

func (p boltPlace) open(options bolt.Options) (*bolt.Store, error) {
	if err := bolt.CheckFile(string(p)); err != nil {
		return nil, err
	}
	options.Timeout = lockTimeout
	st, err := bolt.Open(string(p), options)
	return st, stopFirst(err)
}

// missing reports whether there is no file, or an empty one.
func (p boltPlace) missing() (bool, error) {
	info, err := os.Stat(string(p))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err == nil && !info.Mode().IsRegular():
		return false, fmt.Errorf("%s is no file; name one with --to", string(p))
	}
	return err == nil && info.Size() == 0, err
}

func (p boltPlace) write(ctx context.Context, after store.Revision, mark store.Unfinished) (store.Store, error) {
	missing, err := p.missing()
	if err == nil && missing {
		err = p.create(ctx, mark)
	}
	if err != nil {
		return nil, err
	}
	st, err := p.open(bolt.Options{Copy: true, Into: true})
	if err != nil {
		return nil, err
	}
	st.Continue(max(after, bolt.Acknowledged(string(p))))
	return st, nil
}

// create makes the file with the mark. It appears as a whole: a file without the mark would be taken for a new store.
func (p boltPlace) create(ctx context.Context, mark store.Unfinished) error {
	path, part := string(p), string(p)+".copying"
	clean := func() { _, _ = os.Remove(part), os.Remove(part+".pid") }
	clean() // of a copy that was interrupted
	defer clean()
	st, err := bolt.Open(part, bolt.Options{Init: true, Copy: true, Into: true})
	if err != nil {
		return err
	}
	err = errors.Join(backup.Begin(ctx, st, mark), st.Close())
	if err == nil {
		err = errors.Join(disk.OwnAs(part, filepath.Dir(path)), bolt.ForgetAcknowledged(path)) // of a store that was here before
	}
	if err != nil {
		return err
	}
	if err = os.Link(part, path); errors.Is(err, fs.ErrExist) { // which is empty, as far as we know
		if missing, failed := p.missing(); failed == nil && missing {
			err = os.Rename(part, path)
		}
	}
	return errors.Join(err, syncFolder(filepath.Dir(path)))
}

func (p boltPlace) finish(context.Context) error {
	st, err := p.open(bolt.Options{})
	if err != nil {
		return fmt.Errorf("opening the copy: %w", err)
	}
	return st.Close()
}
