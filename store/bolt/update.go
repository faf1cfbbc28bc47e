package bolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	bbolt "go.etcd.io/bbolt"

	"sallyport/store"
)

// update is one call of Update that waits for its turn. Its result is written by
// the leader, before turn is given.
type update struct {
	ctx      context.Context
	fn       func(store.Writer) error
	revision store.Revision
	err      error
	finished bool
	turn     chan struct{} // given when it is finished, or is to lead; holds one
}

// Update makes one revision of what fn writes. One of those who wait leads: it
// commits for all who have come, and then lets the next lead. So many writers
// share one fsync, and a lone one waits for nobody.
func (s *Store) Update(ctx context.Context, fn func(store.Writer) error) (store.Revision, error) {
	u := &update{ctx: ctx, fn: fn, turn: make(chan struct{}, 1)}
	s.mu.Lock()
	s.queue = append(s.queue, u)
	leads := !s.led
	s.led = true
	s.mu.Unlock()
	if !leads {
		<-u.turn
	}
	if !u.finished {
		s.lead()
	}
	return u.revision, u.err
}

// lead commits what waits. Only one leads at a time.
func (s *Store) lead() {
	s.mu.Lock()
	waiting := s.queue
	s.queue = nil
	s.mu.Unlock()
	defer s.handOver(waiting)
	s.commitAll(slices.Clone(waiting))
}

// handOver lets those who are finished go, and the first of those who came
// meanwhile lead.
func (s *Store) handOver(done []*update) {
	for _, u := range done {
		u.turn <- struct{}{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.led = len(s.queue) > 0; s.led {
		s.queue[0].turn <- struct{}{}
	}
}

// commitAll commits updates together. One that fails is taken out and the
// others run again. The caller leads.
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
	if s.poison != nil {
		finish(updates, s.poison)
		return failed
	}
	var changes []store.Change
	committing := false
	err := s.guard(func() error {
		tx, err := s.db.Begin(true)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // does nothing once committed
		if changes, failed = apply(tx, updates); failed >= 0 || len(changes) == 0 {
			return nil
		}
		committing = true
		return tx.Commit()
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

// fail ends updates after a transaction that could not be. After a commit that
// failed nobody knows what reached the disk: no more writes.
func (s *Store) fail(updates []*update, err error, committing bool) {
	s.metrics.count("update", "failed")
	if committing {
		s.poison = fmt.Errorf("%w (%v)", store.ErrPoisoned, err)
		err = s.poison
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

// apply runs each update's function; each that writes gets a revision of its own.
func apply(tx *bbolt.Tx, updates []*update) (changes []store.Change, failed int) {
	meta := tx.Bucket(metaBucket)
	revision := store.Revision(binary.BigEndian.Uint64(meta.Get(revisionKey)))
	for i, u := range updates {
		w := &writer{reader: reader{tx.Bucket(dataBucket), revision + 1}}
		if u.err = u.ctx.Err(); u.err == nil {
			u.err = u.fn(w)
		}
		if u.err != nil {
			u.revision = 0
			return nil, i
		}
		if len(w.writes) > 0 {
			revision++
			changes = append(changes, store.Change{Revision: revision, Writes: w.writes})
		}
		u.revision = revision
	}
	if len(changes) == 0 {
		return nil, -1
	}
	if err := meta.Put(revisionKey, number(uint64(revision))); err != nil {
		updates[0].err = err
		return nil, 0
	}
	return changes, -1
}
