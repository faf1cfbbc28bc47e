package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	bbolt "go.etcd.io/bbolt"

	"sallyport/disk"
	"sallyport/store"
)

const (
	retryEvery = time.Second
	skipIfLost = 59                     // attempts, after one that found another file or a damaged one
	lockWait   = 100 * time.Millisecond // for the lock, which this process has just released
)

// failure is a failed commit from which the store has not recovered.
type failure struct {
	cause   error
	changes []store.Change // of the commit; nil once it is known whether they are stored
	next    state          // what the store is if they are
	problem string         // why the last attempt to recover failed
	skip    int            // how many attempts to leave out: a damaged file does not mend itself
}

// Run recovers from failed commits until ctx ends: every second it opens the file again,
// and accepts changes once the file has what was acknowledged and can be written. While
// the disk is full it tries every second to make the file longer.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if s.refusal() != nil {
				s.recover()
			} else {
				s.refill()
			}
		}
	}
}

// Err returns why the store refuses changes, or nil if it accepts them. The error is
// [store.ErrPoisoned] after a failed commit, and [store.ErrFull] if only ordinary changes
// are refused.
func (s *Store) Err() error {
	if err := s.refusal(); err != nil {
		return err
	}
	return s.space.err()
}

// refusal returns why every update is refused, or nil.
func (s *Store) refusal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failure == nil:
		return nil
	case s.failure.problem != "":
		return fmt.Errorf("%w (%w; it cannot go on: %s)", store.ErrPoisoned, s.failure.cause, s.failure.problem)
	}
	return fmt.Errorf("%w (%w)", store.ErrPoisoned, s.failure.cause)
}

// checkAcknowledged returns an error if revision is that of a failed commit.
func (s *Store) checkAcknowledged(revision store.Revision) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil && revision > s.last.revision {
		return fmt.Errorf("reading the store: %w: %w", store.ErrUncertain, store.ErrPoisoned)
	}
	return nil
}

// refill tries to make the file longer if the disk was full.
func (s *Store) refill() {
	if s.space.err() == nil {
		return
	}
	s.reopening.Lock() // the file must not be closed meanwhile
	defer s.reopening.Unlock()
	if s.feed.Closed() || s.released {
		return
	}
	var used int64
	if err := s.view(func(tx *bbolt.Tx) error { used = tx.Size(); return nil }); err != nil {
		return
	}
	if s.space.grow(s.db.Load(), used) == nil {
		s.options.Log.Info("the store's disk has space again; every change is accepted")
	}
}

// recover tries to accept changes again after a failed commit.
func (s *Store) recover() {
	s.reopening.Lock()
	defer s.reopening.Unlock()
	if s.feed.Closed() || s.released || s.skipAttempt() {
		return
	}
	err := s.guard(s.reopen)
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, store.ErrUnsound) {
		s.failure.skip = skipIfLost
	}
	switch {
	case err == nil:
		s.failure = nil
		s.options.Log.Info("the store has recovered and accepts changes", "rev", s.last.revision)
	case err.Error() != s.failure.problem:
		s.failure.problem = err.Error()
		s.options.Log.Error("the store has not recovered; the next attempt is made in a second", "err", err)
	}
}

// skipAttempt reports whether to leave out this attempt to recover.
func (s *Store) skipAttempt() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure.skip == 0 {
		return false
	}
	s.failure.skip--
	return true
}

// reopen opens the file again and demands that it has what was acknowledged, or that and
// the one commit that failed. Then it proves by a commit that the file can be written.
func (s *Store) reopen() error {
	old := s.db.Load()
	db, found, err := s.replace(old)
	if err != nil {
		return err
	}
	s.db.Store(db)
	decided := s.decide(found)
	if err := old.Close(); err != nil { // waits for readers, whose pages the next commit may use again
		s.options.Log.Warn("closing the store's file after a failed commit", "err", err)
	}
	if decided != nil {
		return decided
	}
	if err := forget(db); err != nil {
		return err
	}
	if _, err := s.verify(db); err != nil {
		return err
	}
	return s.prove(db)
}

// forget makes the kernel forget what it knows of the file, so that it reads the disk. The
// pages of the failed commit are among what it knows; until it forgets them, ext4 takes
// their blocks for written ones, and would lose what the next commit writes there.
func forget(db *database) error {
	info, err := db.file.Stat()
	if err != nil {
		return err
	}
	mapped := db.Info()                               // where bbolt has mapped the file
	length := uintptr(min(info.Size(), addressSpace)) //nolint:gosec // a length
	if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, mapped.Data, length, syscall.MADV_DONTNEED); errno != 0 {
		return fmt.Errorf("unmapping the store's pages: %w", errno)
	}
	return disk.Forget(db.file)
}

// replace opens the file a second time. Readers use the old database until the new one is
// known to be sound, so the lock is passed on: another process that takes it in between
// either changes nothing, or is found out by the revision.
func (s *Store) replace(old *database) (db *database, found state, err error) {
	if err := checkPresent(s.path, false); err != nil {
		return nil, found, err
	}
	if err := syscall.Flock(int(old.file.Fd()), syscall.LOCK_UN); err != nil {
		return nil, found, fmt.Errorf("unlocking %s: %w", s.path, err)
	}
	defer func() {
		if err != nil {
			_ = syscall.Flock(int(old.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		}
	}()
	if db, err = s.openDatabase(lockWait); err != nil {
		return nil, found, err
	}
	s.space.bound(db)
	if found, err = s.verify(db); err != nil {
		return nil, found, errors.Join(err, db.Close())
	}
	return db, found, nil
}

// verify settles the newest commit in the file and returns the state that it left, if
// that is one that the file may have.
func (s *Store) verify(db *database) (found state, err error) {
	if err := settle(db.file); err != nil {
		return found, fmt.Errorf("writing %s: %w", s.path, err)
	}
	counted, err := checkPages(db.file)
	if err != nil {
		return found, err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		if _, err := s.readFormat(tx); err != nil {
			return err
		}
		if err := checkTotals(tx, counted); err != nil {
			return err
		}
		found = stateOf(tx)
		return nil
	})
	if err != nil {
		return found, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if found != s.last && (s.failure.changes == nil || found != s.failure.next) {
		return found, fmt.Errorf("%w: %s is at revision %d, and revision %d was acknowledged: stop the server, keep the file for an investigation, and restore a backup",
			store.ErrUnsound, s.path, found.revision, s.last.revision)
	}
	return found, nil
}

// settle makes the newest commit durable that can be read.
//
// After a failed fsync, Linux reports the error once, to each open file, and marks the
// pages clean: they hold what was written although the disk may not, and another fsync
// succeeds without writing them. bbolt writes a meta page only after an fsync of all
// pages that it leads to has succeeded, so the meta page alone is in doubt. It is written
// again, which makes it dirty, and forced to the disk; if that succeeds, the disk has what
// was read here. If it fails, the disk has the meta page of this commit or of the one
// before, and either may be found by the next attempt.
//
// The last page of the file, which no commit uses yet, is written first: where the file
// cannot be written at all, nothing else has to be tried.
func settle(f *os.File) error {
	m, err := readMeta(f)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if last := info.Size()/m.pageSize - 1; last >= int64(m.pages) { //nolint:gosec // readMeta has bounded the pages
		if _, err := f.WriteAt(make([]byte, m.pageSize), last*m.pageSize); err != nil {
			return err
		}
	}
	page := make([]byte, m.pageSize)
	if _, err := f.ReadAt(page, m.offset); err != nil {
		return err
	}
	if _, err := f.WriteAt(page, m.offset); err != nil {
		return err
	}
	return f.Sync()
}

// decide publishes the changes of the failed commit if they were found, and forgets them
// if they were not.
func (s *Store) decide(found state) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure.changes == nil {
		return nil
	}
	stored := found == s.failure.next
	if stored {
		if err := s.acknowledged.write(found); err != nil {
			return err
		}
		s.last = found
		s.feed.Add(s.failure.changes)
	}
	s.failure.changes = nil
	s.options.Log.Info("it is known now whether the changes of the failed commit are stored", "stored", stored, "rev", s.failure.next.revision)
	return nil
}

// prove commits a transaction that changes nothing.
func (s *Store) prove(db *database) error {
	db.MaxSize = s.space.whole()
	return db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(metaBucket).Put(revisionKey, number(uint64(stateOf(tx).revision)))
	})
}
