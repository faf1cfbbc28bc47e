// Package bolt keeps a store in one file on the local disk, with bbolt.
//
// bbolt has no checksums of data and accepts writes after a failed commit. This
// package adds both: every record has a CRC, and after a failed commit the store
// is read-only until [Store.Run] has opened the file again and found what was
// acknowledged. No panic caused by a damaged page leaves the package.
package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bbolt "go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"sallyport/disk"
	"sallyport/store"
	"sallyport/store/internal/feed"
	"sallyport/store/internal/group"
)

// format is the number of the file layout that this package writes. Older ones are brought
// to it: see upgrade.
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
	Inspect bool          // open the file to read it as it is, also in an older format; nothing is written, and it is compared with nothing
	Behind  bool          // open the store even if it lacks changes that were acknowledged; see [Store.Continue]
	Into    bool          // open the store to copy records into it, even if that was begun before; see [store.UnfinishedKey]
	Reserve int64         // how many bytes to keep for updates that are [store.Urgent]; 0: the file grows when it must
	Log     *slog.Logger  // nil: nothing is logged
}

// Store is one open file.
type Store struct {
	path     string
	options  Options
	metrics  *metrics
	feed     *feed.Feed
	group    *group.Group
	space    space
	db       atomic.Pointer[database] // replaced after a failed commit
	commitTx func(*bbolt.Tx) error    // commits a transaction: Tx.Commit, but in tests

	acknowledged *acknowledged  // nil for a copy; only the leader of a group commit writes it, and recovery
	base         store.Revision // the next revision is greater; only the leader of a group commit reads it

	mu      sync.Mutex // guards the fields below
	last    state      // what was acknowledged last
	failure *failure   // why no update is accepted; nil if updates are

	reopening sync.Mutex // held while the file is opened again or closed; guards released
	released  bool       // the file is closed until Retake
}

// database is one opening of the file by bbolt.
type database struct {
	*bbolt.DB
	file *os.File // bbolt's own
}

// Open opens the file at path and locks it for this process. If a commit fails later,
// the store is read-only unless [Store.Run] runs.
func Open(path string, options Options) (*Store, error) {
	if err := checkPresent(path, options.Init && !options.Inspect); err != nil {
		return nil, err
	}
	if options.Timeout == 0 {
		options.Timeout = time.Second
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{path: path, options: options, metrics: newMetrics(), commitTx: (*bbolt.Tx).Commit}
	s.group = group.New(s.commitAll)
	if err := s.guard(s.open); err != nil {
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

func (s *Store) open() error {
	if !s.options.Inspect {
		if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
			return fmt.Errorf("making the store's folder: %w", err)
		}
	}
	if err := s.openFile(); err != nil {
		return err
	}
	s.feed = feed.New(max(s.last.revision, s.base))
	if s.options.Inspect {
		return nil
	}
	s.writeHolder()
	return nil
}

// openFile opens the file, checks it, and uses it from then on.
func (s *Store) openFile() error {
	db, err := s.openDatabase(s.options.Timeout)
	if err != nil {
		return err
	}
	if err := s.load(db); err != nil {
		return errors.Join(err, s.acknowledged.close(), db.Close())
	}
	s.db.Store(db)
	return nil
}

// load checks everything in a file that was just opened.
func (s *Store) load(db *database) error {
	if s.options.Reserve > 0 {
		db.AllocSize = 0 // until space has allocated blocks: bbolt's would not be
	}
	found, err := checkPages(db.file)
	if err != nil {
		return fmt.Errorf("opening %s: %w; keep the file for an investigation, and restore a backup", s.path, err)
	}
	if err := s.prepare(db, found); err != nil {
		return err
	}
	if err := s.demandFinished(db); err != nil {
		return err
	}
	if !s.options.Copy && !s.options.Inspect {
		if err := s.compareAcknowledged(db); err != nil {
			return err
		}
	}
	used := int64(0)
	err = db.View(func(tx *bbolt.Tx) error {
		s.last, used = stateOf(tx), tx.Size()
		return nil
	})
	if err != nil {
		return err
	}
	if s.options.Inspect {
		return nil
	}
	if err := s.space.open(db, used, s.options.Reserve); err != nil {
		return err
	}
	s.space.bound(db)
	return nil
}

// openDatabase has bbolt open the file and lock it.
func (s *Store) openDatabase(timeout time.Duration) (*database, error) {
	db := &database{}
	openFile := func(path string, flag int, mode os.FileMode) (file *os.File, err error) {
		file, err = os.OpenFile(path, flag, mode)
		db.file = file
		return file, err
	}
	var err error
	defer func() {
		if db.DB == nil && db.file != nil { // bbolt panics where the freelist is damaged, and holds the lock
			_ = db.file.Close()
		}
	}()
	if err := CheckFile(s.path); errors.Is(err, errBackup) {
		return nil, err
	}
	options := &bbolt.Options{Timeout: timeout, OpenFile: openFile, FreelistType: bbolt.FreelistMapType, InitialMmapSize: addressSpace}
	if s.options.Inspect {
		options.ReadOnly, options.InitialMmapSize = true, 0
	}
	db.DB, err = bbolt.Open(s.path, 0o600, options)
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, fmt.Errorf("opening %s: %w%s", s.path, store.ErrLocked, s.holder())
	case s.options.Inspect && errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("opening %s: %w", s.path, err)
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		return nil, fmt.Errorf("opening %s: %w; the server must be able to write the file and its folder", s.path, err)
	case disk.IsFull(err):
		return nil, fmt.Errorf("opening %s: %w; free some space on its disk", s.path, err)
	case err != nil:
		return nil, fmt.Errorf("opening %s: %w; if the file is damaged, restore a backup", s.path, err)
	}
	return db, nil
}

// holder returns which process has locked the file, in parentheses, or "" if it is unknown.
func (s *Store) holder() string {
	pid, err := os.ReadFile(s.path + ".pid")
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (process %s)", pid[:max(0, len(pid)-1)])
}

// prepare makes the buckets of a new file, or checks the format of an existing one and the
// records that were found in it.
func (s *Store) prepare(db *database, found records) error {
	written, err := s.formatOf(db)
	switch {
	case err == nil && s.options.Inspect && written == 1:
		return nil // which has no totals
	case err == nil && written < format:
		if err := s.upgrade(db, written); err != nil {
			return err
		}
		return s.checkRecords(db, found) // which an upgrade does not change
	case err == nil:
		return s.checkRecords(db, found)
	case !errors.Is(err, errNew) || s.options.Inspect:
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
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
		return fmt.Errorf("making the store %s: %w", s.path, err)
	}
	return nil
}

var (
	errNew       = errors.New("new file") // it has no buckets yet
	errInspected = errors.New("the store was opened to be read")
)

// checkRecords demands that the records that were found are what the last change left.
func (s *Store) checkRecords(db *database, found records) error {
	if err := db.View(func(tx *bbolt.Tx) error { return checkTotals(tx, found) }); err != nil {
		return fmt.Errorf("opening %s: %w; keep the file for an investigation, and restore a backup", s.path, err)
	}
	return nil
}

// demandFinished demands that the file is no unfinished copy, unless it was opened to go on with one.
func (s *Store) demandFinished(db *database) error {
	if s.options.Into {
		return nil
	}
	err := db.View(func(tx *bbolt.Tx) error { return store.DemandFinished(newReader(tx)) })
	if err != nil {
		return fmt.Errorf("opening %s: %w", s.path, err)
	}
	return nil
}

// compareAcknowledged demands that the store has what was acknowledged last. A store
// without a file that says so begins one. A store that is behind, and may be, goes on
// after every revision that was acknowledged, and that is written with its next change.
func (s *Store) compareAcknowledged(db *database) error {
	var now state
	if err := db.View(func(tx *bbolt.Tx) error { now = stateOf(tx); return nil }); err != nil {
		return err
	}
	a, last, ok, err := openAcknowledged(s.path, os.O_RDWR)
	s.acknowledged = a
	if ok {
		err = a.compare(now, last)
	}
	switch {
	case err == nil && now != last || err == nil && !ok:
		return a.write(now)
	case errors.Is(err, store.ErrBehind) && s.options.Behind:
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
	s.feed.Restart(max(s.feed.Newest(), s.base))
}

// formatOf returns the format of a file. It returns errNew only for a file in which nothing
// was ever committed: its first transactions write the empty pages.
func (s *Store) formatOf(db *database) (written uint64, err error) {
	err = db.View(func(tx *bbolt.Tx) error {
		written, err = s.readFormat(tx)
		return err
	})
	return written, err
}

// readFormat is formatOf within a transaction. The format is looked at first: nothing else
// is known of the layout of a newer one.
func (s *Store) readFormat(tx *bbolt.Tx) (written uint64, err error) {
	meta := tx.Bucket(metaBucket)
	switch {
	case tx.ID() <= 1:
		return 0, errNew
	case meta == nil:
		return 0, fmt.Errorf("opening %s: %w: the file is damaged: a bucket is missing; restore a backup", s.path, store.ErrUnsound)
	}
	f := meta.Get(formatKey)
	if len(f) != 8 {
		return 0, fmt.Errorf("opening %s: the header is damaged; restore a backup", s.path)
	}
	written = binary.BigEndian.Uint64(f)
	switch {
	case written == 0:
		return 0, fmt.Errorf("opening %s: the header is damaged; restore a backup", s.path)
	case written > format:
		return 0, fmt.Errorf("opening %s: %w: its format is %d and this version reads %d; use the version that wrote it, or restore a backup that this version made",
			s.path, store.ErrNewer, written, format)
	case tx.Bucket(dataBucket) == nil:
		return 0, fmt.Errorf("opening %s: %w: the file is damaged: a bucket is missing; restore a backup", s.path, store.ErrUnsound)
	case len(meta.Get(revisionKey)) != 8:
		return 0, fmt.Errorf("opening %s: the header is damaged; restore a backup", s.path)
	}
	return written, nil
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// guard returns the panics and memory faults that damaged pages cause as errors.
func (s *Store) guard(f func() error) error { return guard(s.path, f) }

// guard runs f, which reads the store at path. A goroutine that f starts needs its own.
func guard(path string, f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(before)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %s is damaged (%v); restore a backup", store.ErrUnsound, path, p)
		}
	}()
	return f()
}

// View runs fn on the newest revision. It returns [store.ErrUncertain] while it is not
// known whether that revision is stored.
func (s *Store) View(ctx context.Context, fn func(store.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.view(func(tx *bbolt.Tx) error {
		r := newReader(tx)
		if err := s.checkAcknowledged(r.revision); err != nil {
			return err
		}
		return fn(r)
	})
}

// view runs fn in a transaction that only reads.
func (s *Store) view(fn func(*bbolt.Tx) error) error {
	for {
		db := s.db.Load()
		err := s.guard(func() error { return db.View(fn) })
		if errors.Is(err, bbolterrors.ErrDatabaseNotOpen) && db != s.db.Load() {
			continue // the file was opened again meanwhile
		}
		return s.closedError(err)
	}
}

func (s *Store) closedError(err error) error {
	switch {
	case errors.Is(err, bbolterrors.ErrDatabaseNotOpen):
		return store.ErrClosed
	case errors.Is(err, bbolterrors.ErrInvalidMapping): // a commit could not map more of the file
		return fmt.Errorf("%w (%w)", store.ErrPoisoned, err)
	}
	return err
}

// Backup writes a consistent copy of the file to w.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	return s.view(func(tx *bbolt.Tx) error {
		if err := s.checkAcknowledged(newReader(tx).revision); err != nil {
			return err
		}
		_, err := tx.WriteTo(contextWriter{ctx, w})
		return err
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

// Check checks what Open does not: bbolt's own rules, and every record. It returns every
// fault.
func (s *Store) Check(ctx context.Context) error {
	if err := s.checkLength(); err != nil { // bbolt's own check runs on a goroutine, where no fault can be caught
		return err
	}
	return s.view(func(tx *bbolt.Tx) error {
		var faults []error
		for err := range tx.Check() {
			faults = append(faults, err)
		}
		found, damaged := countRecords(tx.Bucket(dataBucket))
		err := checkTotals(tx, found)
		if written, failed := s.readFormat(tx); failed == nil && written == 1 { // which has no totals
			err = nil
		}
		return errors.Join(slices.Concat(faults, damaged, []error{err, ctx.Err()})...)
	})
}

// checkLength demands that the file has every page that belongs to it.
func (s *Store) checkLength() error {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = readMeta(f)
	return err
}

// Close closes the file and unlocks it. It waits for transactions under way.
func (s *Store) Close() error {
	s.feed.Close()
	s.reopening.Lock()
	defer s.reopening.Unlock()
	if s.released {
		return nil
	}
	return s.closeFile()
}
