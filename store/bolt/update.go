package bolt

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	bbolt "go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"sallyport/store"
	"sallyport/store/internal/feed"
	"sallyport/store/internal/group"
)

// Update makes one revision of what fn writes. Updates are committed in groups.
func (s *Store) Update(ctx context.Context, fn func(store.Writer) error) (store.Revision, error) {
	if s.options.Inspect {
		return 0, errInspected
	}
	return s.group.Update(ctx, fn)
}

// commitAll commits updates together. If one fails, the others run again without
// it. The caller is the leader.
func (s *Store) commitAll(waiting []*group.Update) {
	updates := slices.Clone(waiting)
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
func (s *Store) attempt(updates []*group.Update) (again []*group.Update) {
	if err := s.refusal(); err != nil {
		s.metrics.refuse(resultFailed, len(updates))
		group.Finish(updates, err)
		return nil
	}
	t := transaction{failed: -1}
	err := s.guard(func() error { return s.transact(&t, updates) })
	switch {
	case t.failed >= 0:
		updates[t.failed].Finished = true
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
func (s *Store) transact(t *transaction, updates []*group.Update) error {
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
	t.urgent = !slices.ContainsFunc(updates, func(u *group.Update) bool { return !u.Urgent })
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
func (s *Store) commit(updates []*group.Update, t transaction) {
	s.metrics.count("update", "committed")
	if len(t.changes) > 0 {
		s.mu.Lock()
		s.last = t.next
		s.mu.Unlock()
		s.space.committed()
		s.feed.Add(t.changes)
	}
	group.Finish(updates, nil)
}

// makeSpace returns the updates that have to run again after a transaction that needed
// more space: all of them if the file could grow, otherwise those that may use the reserve.
func (s *Store) makeSpace(updates []*group.Update, t transaction) (again []*group.Update) {
	full := s.space.err()
	if full == nil {
		if full = s.space.grow(s.db.Load(), t.used); full == nil {
			return updates
		}
		s.options.Log.Error("the store's disk is full; only what takes access away is stored", "err", full)
	} else if t.urgent { // the reserve does not suffice
		s.metrics.refuse(resultFull, len(updates))
		group.Finish(updates, full)
		return nil
	}
	var ordinary []*group.Update
	for _, u := range updates {
		if u.Urgent {
			again = append(again, u)
		} else {
			ordinary = append(ordinary, u)
		}
	}
	s.metrics.refuse(resultFull, len(ordinary))
	group.Finish(ordinary, full)
	return again
}

// fail finishes updates whose transaction failed. After a failed commit it is not
// known what reached the disk, so the store accepts no more writes.
func (s *Store) fail(updates []*group.Update, t transaction, err error) {
	s.metrics.refuse(resultFailed, len(updates))
	if t.committing {
		s.mu.Lock()
		s.failure = &failure{cause: err, changes: t.changes, next: t.next}
		s.mu.Unlock()
		s.options.Log.Error("a commit failed; the store accepts no changes until it has recovered", "err", err, "rev", t.next.revision)
		err = fmt.Errorf("%w: %w (%w)", store.ErrUncertain, store.ErrPoisoned, err)
	}
	group.Finish(updates, s.closedError(err))
}

// apply runs the function of each update. Each update that writes gets a revision of
// its own, greater than after. It returns the state that the changes leave. If one
// fails, apply returns its index, otherwise -1.
func apply(tx *bbolt.Tx, updates []*group.Update, after store.Revision) (changes []store.Change, next state, failed int) {
	next = stateOf(tx)
	for i, u := range updates {
		revision := max(next.revision, after) + 1
		w := newWriter(reader{tx.Bucket(dataBucket), revision}, &next.totals)
		if u.Err = u.Ctx.Err(); u.Err == nil {
			u.Err = u.Fn(w)
		}
		if u.Err != nil {
			u.Revision = 0
			return nil, next, i
		}
		if len(w.writes) > 0 {
			next.revision = revision
			changes = append(changes, store.Change{Revision: revision, Writes: w.writes})
		}
		u.Revision, u.Urgent = next.revision, w.urgent || len(w.writes) == 0
	}
	if len(changes) == 0 {
		return nil, next, -1
	}
	meta := tx.Bucket(metaBucket)
	if err := errors.Join(meta.Put(revisionKey, number(uint64(next.revision))), meta.Put(totalsKey, next.totals.encode())); err != nil {
		updates[0].Err = err
		return nil, next, 0
	}
	return changes, next, -1
}

// Watch yields every change after a revision, in order, and waits for more.
func (s *Store) Watch(ctx context.Context, after store.Revision) iter.Seq2[store.Change, error] {
	return s.feed.Watch(ctx, after, feed.Wait)
}
