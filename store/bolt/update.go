package bolt

import (
	"context"
	"errors"
	"fmt"
	"slices"

	bbolt "go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"sallyport/store"
)

// update is one call of Update that waits for a group commit. The leader of the
// commit sets the result before it signals.
type update struct {
	ctx      context.Context
	fn       func(store.Writer) error
	revision store.Revision
	urgent   bool // it may use the reserve
	err      error
	finished bool
	signal   chan struct{} // receives one value once the update is finished or has to lead
}

// Update makes one revision of what fn writes. Updates are committed in groups:
// one caller, the leader, commits every update that waits, and then makes the
// first of those that came meanwhile the next leader. Thus many writers share one
// fsync, and a single writer waits for no other.
func (s *Store) Update(ctx context.Context, fn func(store.Writer) error) (store.Revision, error) {
	if s.options.Inspect {
		return 0, errInspected
	}
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
		updates = s.attempt(updates)
	}
}

// transaction is one attempt to commit updates together.
type transaction struct {
	changes    []store.Change
	next       state // what the changes leave
	failed     int   // the index of an update whose function failed; nothing is committed then; -1: none
	used       int64 // bytes of the file before the transaction
	urgent     bool  // every update that writes is urgent
	committing bool  // something may have been written to the file
}

// errNoSpace means that a transaction needs more of the file than it may use. Nothing
// was written.
var errNoSpace = errors.New("no space in the file")

// attempt runs updates in one transaction, and returns those that have to run again.
func (s *Store) attempt(updates []*update) (again []*update) {
	if err := s.refusal(); err != nil {
		s.metrics.refuse(resultFailed, len(updates))
		finish(updates, err)
		return nil
	}
	t := transaction{failed: -1}
	err := s.guard(func() error { return s.transact(&t, updates) })
	switch {
	case t.failed >= 0:
		updates[t.failed].finished = true
		s.metrics.count("update", "refused")
		return slices.Delete(updates, t.failed, t.failed+1)
	case errors.Is(err, errNoSpace):
		return s.makeSpace(updates, t)
	case err != nil:
		s.fail(updates, t, err)
	default:
		s.commit(updates, t)
	}
	return nil
}

// transact runs updates in a transaction, and commits it if they write.
func (s *Store) transact(t *transaction, updates []*update) error {
	db := s.db.Load()
	tx, err := db.Begin(true)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // no effect after a commit
	t.used = tx.Size()
	if t.changes, t.next, t.failed = apply(tx, updates, s.base); t.failed >= 0 || len(t.changes) == 0 {
		return nil
	}
	t.urgent = !slices.ContainsFunc(updates, func(u *update) bool { return !u.urgent })
	limit, err := s.space.limit(t.urgent)
	if err != nil {
		return errNoSpace
	}
	db.MaxSize = limit
	t.committing = true
	err = s.commitTx(tx)
	if errors.Is(err, bbolterrors.ErrMaxSizeReached) { // bbolt finds out before it writes anything
		t.committing = false
		return errNoSpace
	}
	if err != nil {
		return err
	}
	return s.acknowledged.write(t.next) // only then is anybody told
}

// commit finishes updates whose transaction is committed.
func (s *Store) commit(updates []*update, t transaction) {
	s.metrics.count("update", "committed")
	if len(t.changes) > 0 {
		s.mu.Lock()
		s.last = t.next
		s.mu.Unlock()
		s.space.committed()
		s.feed.add(t.changes)
	}
	finish(updates, nil)
}

// makeSpace returns the updates that have to run again after a transaction that needed
// more space: all of them if the file could grow, otherwise those that may use the reserve.
func (s *Store) makeSpace(updates []*update, t transaction) (again []*update) {
	full := s.space.err()
	if full == nil {
		if full = s.space.grow(s.db.Load(), t.used); full == nil {
			return updates
		}
		s.options.Log.Error("the store's disk is full; only what takes access away is stored", "err", full)
	} else if t.urgent { // the reserve does not suffice
		s.metrics.refuse(resultFull, len(updates))
		finish(updates, full)
		return nil
	}
	var ordinary []*update
	for _, u := range updates {
		if u.urgent {
			again = append(again, u)
		} else {
			ordinary = append(ordinary, u)
		}
	}
	s.metrics.refuse(resultFull, len(ordinary))
	finish(ordinary, full)
	return again
}

// fail finishes updates whose transaction failed. After a failed commit it is not
// known what reached the disk, so the store accepts no more writes.
func (s *Store) fail(updates []*update, t transaction, err error) {
	s.metrics.refuse(resultFailed, len(updates))
	if t.committing {
		s.mu.Lock()
		s.failure = &failure{cause: err, changes: t.changes, next: t.next}
		s.mu.Unlock()
		s.options.Log.Error("a commit failed; the store accepts no changes until it has recovered", "err", err, "rev", t.next.revision)
		err = fmt.Errorf("%w: %w (%w)", store.ErrUncertain, store.ErrPoisoned, err)
	}
	finish(updates, s.closedError(err))
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
		u.revision, u.urgent = next.revision, w.urgent || len(w.writes) == 0
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
