package bolt

import (
	"context"
	"errors"
	"fmt"
	"slices"

	bbolt "go.etcd.io/bbolt"

	"sallyport/store"
)

// update is one call of Update that waits for a group commit. The leader of the
// commit sets the result before it signals.
type update struct {
	ctx      context.Context
	fn       func(store.Writer) error
	revision store.Revision
	err      error
	finished bool
	signal   chan struct{} // receives one value once the update is finished or has to lead
}

// Update makes one revision of what fn writes. Updates are committed in groups:
// one caller, the leader, commits every update that waits, and then makes the
// first of those that came meanwhile the next leader. Thus many writers share one
// fsync, and a single writer waits for no other.
func (s *Store) Update(ctx context.Context, fn func(store.Writer) error) (store.Revision, error) {
	u := &update{ctx: ctx, fn: fn, signal: make(chan struct{}, 1)}
	s.mu.Lock()
	s.queue = append(s.queue, u)
	leads := !s.committing
	s.committing = true
	s.mu.Unlock()
	if !leads {
		<-u.signal
	}
	if !u.finished {
		s.commitGroup()
	}
	return u.revision, u.err
}

// commitGroup commits the updates that wait. The caller is the only leader.
func (s *Store) commitGroup() {
	s.mu.Lock()
	waiting := s.queue
	s.queue = nil
	s.mu.Unlock()
	defer s.passLeadership(waiting)
	s.commitAll(slices.Clone(waiting))
}

// passLeadership signals the finished updates, and makes the first that waits the next
// leader.
func (s *Store) passLeadership(done []*update) {
	for _, u := range done {
		u.signal <- struct{}{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.committing = len(s.queue) > 0; s.committing {
		s.queue[0].signal <- struct{}{}
	}
}

// commitAll commits updates together. If one fails, the others run again without
// it. The caller is the leader.
func (s *Store) commitAll(updates []*update) {
	for len(updates) > 0 {
		failed := s.attempt(updates)
		if failed < 0 {
			return
		}
		updates[failed].finished = true
		s.metrics.count("update", "refused")
		updates = append(updates[:failed:failed], updates[failed+1:]...)
	}
}

// attempt runs updates in one transaction. It returns the index of one whose
// function failed (nothing is committed then), or -1 when all are finished.
func (s *Store) attempt(updates []*update) (failed int) {
	failed = -1
	if s.readOnly != nil {
		finish(updates, s.readOnly)
		return failed
	}
	var changes []store.Change
	committing := false
	err := s.guard(func() error {
		tx, err := s.db.Begin(true)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // no effect after a commit
		var next state
		if changes, next, failed = apply(tx, updates, s.base); failed >= 0 || len(changes) == 0 {
			return nil
		}
		committing = true
		if err := tx.Commit(); err != nil {
			return err
		}
		return s.acknowledged.write(next) // only then is anybody told
	})
	switch {
	case failed >= 0:
		return failed
	case err != nil:
		s.fail(updates, err, committing)
	default:
		s.metrics.count("update", "committed")
		s.feed.add(changes)
		finish(updates, nil)
	}
	return failed
}

// fail finishes updates whose transaction failed. After a failed commit it is not
// known what reached the disk, so the store accepts no more writes.
func (s *Store) fail(updates []*update, err error, committing bool) {
	s.metrics.count("update", "failed")
	if committing {
		s.readOnly = fmt.Errorf("%w (%w)", store.ErrPoisoned, err)
		err = s.readOnly
	}
	finish(updates, s.closed(err))
}

func finish(updates []*update, err error) {
	for _, u := range updates {
		u.finished = true
		if err != nil {
			u.revision, u.err = 0, err
		}
	}
}

// apply runs the function of each update. Each update that writes gets a revision of
// its own, greater than after. It returns the state that the changes leave. If one
// fails, apply returns its index, otherwise -1.
func apply(tx *bbolt.Tx, updates []*update, after store.Revision) (changes []store.Change, next state, failed int) {
	next = stateOf(tx)
	for i, u := range updates {
		revision := max(next.revision, after) + 1
		w := &writer{reader: reader{tx.Bucket(dataBucket), revision}, totals: &next.totals}
		if u.err = u.ctx.Err(); u.err == nil {
			u.err = u.fn(w)
		}
		if u.err != nil {
			u.revision = 0
			return nil, next, i
		}
		if len(w.writes) > 0 {
			next.revision = revision
			changes = append(changes, store.Change{Revision: revision, Writes: w.writes})
		}
		u.revision = next.revision
	}
	if len(changes) == 0 {
		return nil, next, -1
	}
	meta := tx.Bucket(metaBucket)
	if err := errors.Join(meta.Put(revisionKey, number(uint64(next.revision))), meta.Put(totalsKey, next.totals.encode())); err != nil {
		updates[0].err = err
		return nil, next, 0
	}
	return changes, next, -1
}
