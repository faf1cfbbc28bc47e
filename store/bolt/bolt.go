// Package bolt keeps a store in one file on the local disk, with bbolt.
//
// bbolt has no checksums of data and accepts writes after a failed commit. This
// package adds both: every record has a CRC, and after a failed commit the store
// is read-only until it is opened again. No panic caused by a damaged page leaves
// the package.
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
	"syscall"
	"time"

	bbolt "go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"sallyport/store"
)

// format is the number of the file layout that this package writes. It reads format 1,
// which has no totals, and turns it into this one.
const format = 2

// addressSpace is the size of the memory map from the start, whatever the size of
// the file: to grow the map later, a writer would have to wait for every reader. It
// uses addresses, not memory.
const addressSpace = 4 << 30

var (
	dataBucket  = []byte("data")
	metaBucket  = []byte("meta")
	formatKey   = []byte("format")
	revisionKey = []byte("revision")
	totalsKey   = []byte("totals")
)

// Options are the options of Open.
type Options struct {
	Init    bool          // make the file if it is missing or empty
	Timeout time.Duration // how long to wait while another process has the file locked; 0: one second
	Copy    bool          // the file is a copy of a store: nothing is kept beside it, and it is compared with nothing
	Behind  bool          // open the store even if it lacks changes that were acknowledged; see [Store.Continue]
}

// Store is one open file.
type Store struct {
	path    string
	db      *bbolt.DB
	metrics *metrics
	feed    *feed

	acknowledged *acknowledged  // nil for a copy; only the leader of a group commit writes it
	base         store.Revision // the next revision is greater; only the leader of a group commit reads it
	readOnly     error          // why the store accepts no more writes; only the leader of a group commit reads it

	mu         sync.Mutex // guards the fields below
	queue      []*update  // wait for the next group commit
	committing bool       // a group commit is under way
}

// Open opens the file at path and locks it for this process.
func Open(path string, options Options) (*Store, error) {
	if err := checkPresent(path, options.Init); err != nil {
		return nil, err
	}
	if options.Timeout == 0 {
		options.Timeout = time.Second
	}
	s := &Store{path: path, metrics: newMetrics()}
	if err := s.guard(func() error { return s.open(options) }); err != nil {
		return nil, err
	}
	return s, nil
}

// checkPresent returns ErrMissing for a file that does not exist: it may be lost,
// or on a disk that is not mounted, and an empty store would deny everybody
// without a reason.
func checkPresent(path string, init bool) error {
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

func (s *Store) open(options Options) error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return fmt.Errorf("making the store's folder: %w", err)
	}
	db, err := bbolt.Open(s.path, 0o600, &bbolt.Options{Timeout: options.Timeout,
		FreelistType: bbolt.FreelistMapType, InitialMmapSize: addressSpace})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return fmt.Errorf("opening %s: %w%s", s.path, store.ErrLocked, s.holder())
	}
	switch {
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("opening %s: %w; the server must be able to write the file and its folder", s.path, err)
	case err != nil:
		return fmt.Errorf("opening %s: %w; if the file is damaged, restore a backup", s.path, err)
	}
	s.db = db
	if err := checkPages(s.path); err != nil {
		return errors.Join(fmt.Errorf("opening %s: %w; keep the file for an investigation, and restore a backup", s.path, err), db.Close())
	}
	revision, err := s.prepare()
	if err == nil && !options.Copy {
		err = s.compareAcknowledged(options.Behind)
	}
	if err != nil {
		return errors.Join(err, s.acknowledged.close(), db.Close())
	}
	s.feed = newFeed(max(revision, s.base))
	return os.WriteFile(s.path+".pid", fmt.Appendf(nil, "%d\n", os.Getpid()), 0o600)
}

// holder returns which process has locked the file, in parentheses, or "" if it is unknown.
func (s *Store) holder() string {
	pid, err := os.ReadFile(s.path + ".pid")
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (process %s)", pid[:max(0, len(pid)-1)])
}

// prepare makes the buckets of a new file, or checks the format of an existing one,
// and returns its revision.
func (s *Store) prepare() (revision store.Revision, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error { return s.checkFormat(tx, &revision) })
	switch {
	case errors.Is(err, errOld):
		return revision, s.addTotals()
	case err == nil:
		return revision, s.checkRecords()
	case !errors.Is(err, errNew):
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
		return errors.Join(meta.Put(formatKey, number(format)), meta.Put(revisionKey, number(0)), meta.Put(totalsKey, totals{}.encode()))
	})
	if err != nil {
		return 0, fmt.Errorf("making the store %s: %w", s.path, err)
	}
	return 0, nil
}

var (
	errNew = errors.New("new file") // it has no buckets yet
	errOld = errors.New("old file") // it has no totals yet
)

// addTotals turns a file of format 1 into one of format 2.
func (s *Store) addTotals() error {
	err := s.db.Update(func(tx *bbolt.Tx) error {
		sums, _ := countRecords(tx.Bucket(dataBucket))
		meta := tx.Bucket(metaBucket)
		return errors.Join(meta.Put(totalsKey, sums.encode()), meta.Put(formatKey, number(format)))
	})
	if err != nil {
		return fmt.Errorf("bringing %s to format %d: %w", s.path, format, err)
	}
	return nil
}

// checkRecords demands that the file holds what the last change left.
func (s *Store) checkRecords() error {
	if err := s.db.View(checkTotals); err != nil {
		return fmt.Errorf("opening %s: %w; keep the file for an investigation, and restore a backup", s.path, err)
	}
	return nil
}

// compareAcknowledged demands that the store has what was acknowledged last. A store
// without a file that says so begins one. A store that is behind, and may be, goes on
// after every revision that was acknowledged, and that is written with its next change.
func (s *Store) compareAcknowledged(mayBeBehind bool) error {
	var now state
	if err := s.db.View(func(tx *bbolt.Tx) error { now = stateOf(tx); return nil }); err != nil {
		return err
	}
	a, last, ok, err := openAcknowledged(s.path)
	s.acknowledged = a
	if ok {
		err = a.compare(now, last)
	}
	switch {
	case err == nil && now != last || err == nil && !ok:
		return a.write(now)
	case errors.Is(err, store.ErrBehind) && mayBeBehind:
		s.base = last.revision
		return nil
	case errors.Is(err, store.ErrBehind):
		return fmt.Errorf("opening %s: %w; restore a backup with `sallyport restore FILE`, or accept the loss with `sallyport store accept-loss`", s.path, err)
	}
	return err
}

// stateOf returns the state that tx reads.
func stateOf(tx *bbolt.Tx) state {
	meta := tx.Bucket(metaBucket)
	sums, _ := decodeTotals(meta.Get(totalsKey)) // checked when the file was opened
	return state{store.Revision(binary.BigEndian.Uint64(meta.Get(revisionKey))), sums}
}

// Continue makes the next revision greater than after. A store that is older than what
// was made from it, such as a backup, must not use revisions twice. Call it before
// anything else.
func (s *Store) Continue(after store.Revision) {
	s.base = max(s.base, after)
	s.feed = newFeed(max(s.feed.next-1, s.base))
}

// checkFormat returns errNew only for a file in which nothing was ever committed: its
// first transactions write the empty pages.
func (s *Store) checkFormat(tx *bbolt.Tx, revision *store.Revision) error {
	meta := tx.Bucket(metaBucket)
	switch {
	case tx.ID() <= 1:
		return errNew
	case meta == nil || tx.Bucket(dataBucket) == nil:
		return fmt.Errorf("opening %s: %w: the file is damaged: a bucket is missing; restore a backup", s.path, store.ErrUnsound)
	}
	f, r := meta.Get(formatKey), meta.Get(revisionKey)
	if len(f) != 8 || len(r) != 8 {
		return fmt.Errorf("opening %s: the header is damaged; restore a backup", s.path)
	}
	*revision = store.Revision(binary.BigEndian.Uint64(r))
	switch n := binary.BigEndian.Uint64(f); n {
	case format:
		return nil
	case 1:
		return errOld
	default:
		return fmt.Errorf("opening %s: its format is %d and this version reads %d; use the version that wrote it", s.path, n, format)
	}
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// guard returns the panics and memory faults that damaged pages cause as errors.
func (s *Store) guard(f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(before)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %s is damaged (%v); restore a backup", store.ErrUnsound, s.path, p)
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

// Backup writes a consistent copy of the file to w.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	return s.guard(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			_, err := tx.WriteTo(contextWriter{ctx, w})
			return err
		})
	})
}

// contextWriter is a writer that fails once its context has ended.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c contextWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}

// Check reads every page and every record and returns every fault.
func (s *Store) Check(ctx context.Context) error {
	if err := checkPages(s.path); err != nil { // bbolt's own check runs on a goroutine, where no fault can be caught
		return err
	}
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
			return errors.Join(append(faults, checkTotals(tx), ctx.Err())...)
		})
	})
}

// Close closes the file and unlocks it. It waits for transactions under way.
func (s *Store) Close() error {
	s.feed.close()
	_ = os.Remove(s.path + ".pid")
	return errors.Join(s.db.Close(), s.acknowledged.close())
}
