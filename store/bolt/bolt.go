// Package bolt keeps a store in one file on the local disk, with bbolt.
//
// bbolt has no checksums for data and goes on after a failed commit; this
// package adds both: every record carries a CRC, and a commit that failed
// poisons the store until it is opened again. No panic of a damaged page escapes.
package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	bbolt "go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"sallyport/store"
)

// format is the layout of the file that this package writes.
const format = 1

// addressSpace is mapped at once, whatever the file's size: growing the map later
// would make writers wait for every reader. It is no memory, only addresses.
const addressSpace = 4 << 30

var (
	dataBucket  = []byte("data")
	metaBucket  = []byte("meta")
	formatKey   = []byte("format")
	revisionKey = []byte("revision")
)

// Options says how Open opens.
type Options struct {
	Init    bool          // make the file if it is missing or empty
	Timeout time.Duration // how long to wait for another process to let go; 0: one second
}

// Store is one open file.
type Store struct {
	path    string
	db      *bbolt.DB
	metrics *metrics
	feed    *feed

	poison error // why no more is written; only who leads looks at it

	mu    sync.Mutex // guards what follows
	queue []*update
	led   bool // somebody leads
}

// Open opens the file at path and takes it for this process alone.
func Open(path string, o Options) (*Store, error) {
	if err := present(path, o.Init); err != nil {
		return nil, err
	}
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	s := &Store{path: path, metrics: newMetrics()}
	if err := s.guard(func() error { return s.open(o) }); err != nil {
		return nil, err
	}
	return s, nil
}

// present refuses a file that is not there: it may be lost, or on a disk that is
// not mounted, and an empty store would turn everybody away without a word.
func present(path string, init bool) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.Size() > 0, init && (err == nil || errors.Is(err, os.ErrNotExist)):
		return nil
	case err == nil:
		return fmt.Errorf("opening %s: %w: the file has no content; restore a backup, or make a new store with --init", path, store.ErrMissing)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("opening %s: %w: there is no such file; restore a backup, or make a new store with --init", path, store.ErrMissing)
	}
	return fmt.Errorf("opening the store: %w", err)
}

func (s *Store) open(o Options) error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return fmt.Errorf("making the store's folder: %w", err)
	}
	db, err := bbolt.Open(s.path, 0o600, &bbolt.Options{Timeout: o.Timeout,
		FreelistType: bbolt.FreelistMapType, InitialMmapSize: addressSpace})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return fmt.Errorf("opening %s: %w%s", s.path, store.ErrLocked, s.holder())
	}
	if err != nil {
		return fmt.Errorf("opening %s: %w; if the file is damaged, restore a backup", s.path, err)
	}
	s.db = db
	revision, err := s.prepare()
	if err != nil {
		return errors.Join(err, db.Close())
	}
	s.feed = newFeed(revision)
	return os.WriteFile(s.path+".pid", fmt.Appendf(nil, "%d\n", os.Getpid()), 0o600)
}

// holder says which process has the file, where it left word.
func (s *Store) holder() string {
	pid, err := os.ReadFile(s.path + ".pid")
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (process %s)", pid[:max(0, len(pid)-1)])
}

// prepare makes the buckets of a new file, checks the format of an old one and
// returns its revision.
func (s *Store) prepare() (revision store.Revision, err error) {
	if err := s.db.View(func(tx *bbolt.Tx) error { return s.checkFormat(tx.Bucket(metaBucket), &revision) }); err == nil {
		return revision, nil
	} else if !errors.Is(err, errNew) {
		return 0, err
	}
	err = s.db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucket(dataBucket); err != nil {
			return err
		}
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		return errors.Join(meta.Put(formatKey, number(format)), meta.Put(revisionKey, number(0)))
	})
	if err != nil {
		return 0, fmt.Errorf("making the store %s: %w", s.path, err)
	}
	return 0, nil
}

// errNew marks a file without buckets: one that was made just now.
var errNew = errors.New("new file")

func (s *Store) checkFormat(meta *bbolt.Bucket, revision *store.Revision) error {
	if meta == nil {
		return errNew
	}
	f, r := meta.Get(formatKey), meta.Get(revisionKey)
	if len(f) != 8 || len(r) != 8 {
		return fmt.Errorf("opening %s: the header is damaged; restore a backup", s.path)
	}
	if n := binary.BigEndian.Uint64(f); n != format {
		return fmt.Errorf("opening %s: its format is %d and this version reads %d; use the version that wrote it", s.path, n, format)
	}
	*revision = store.Revision(binary.BigEndian.Uint64(r))
	return nil
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// guard turns the panics and memory faults of damaged pages into errors.
func (s *Store) guard(f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(before)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("store %s is damaged (%v); restore a backup", s.path, p)
		}
	}()
	return f()
}

// View runs fn on the newest revision.
func (s *Store) View(ctx context.Context, fn func(store.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.guard(func() error {
		return s.db.View(func(tx *bbolt.Tx) error { return fn(newReader(tx)) })
	})
	return s.closed(err)
}

func (s *Store) closed(err error) error {
	if errors.Is(err, bbolterrors.ErrDatabaseNotOpen) {
		return store.ErrClosed
	}
	return err
}

// Backup writes a consistent copy of the whole file to w.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	return s.guard(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			_, err := tx.WriteTo(stopWith{ctx, w})
			return err
		})
	})
}

// stopWith is a writer that fails once its context has ended.
type stopWith struct {
	ctx context.Context
	w   io.Writer
}

func (s stopWith) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.w.Write(p)
}

// Check reads every page and every record and returns what is wrong with them.
func (s *Store) Check(ctx context.Context) error {
	return s.guard(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			var faults []error
			for err := range tx.Check() {
				faults = append(faults, err)
			}
			for e, err := range newReader(tx).Scan(nil, nil) {
				if err != nil {
					faults = append(faults, fmt.Errorf("record %q: %w", e.Key, err))
				}
			}
			return errors.Join(append(faults, ctx.Err())...)
		})
	})
}

// Close lets the file go. It waits for transactions under way.
func (s *Store) Close() error {
	s.feed.close()
	_ = os.Remove(s.path + ".pid")
	return s.db.Close()
}
