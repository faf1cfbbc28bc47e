package session

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"sallyport/store"
)

const (
	batchSize = 1000      // records in one transaction
	keepEnded = time.Hour // how long after its lifetime a browser is still told that its session ended, and a form of its user is kept
)

// sweep ends the sessions that have expired and deletes those that ended long ago.
func (s *Sessions) sweep(ctx context.Context) error {
	expired, obsolete := s.due(s.clock.now())
	if len(expired) > 0 { // live requests are reviewed even if the store accepts no writes
		for _, e := range expired {
			s.touched.Add(e.record.Load().User)
		}
		s.mirror.Notify()
	}
	if err := s.endExpired(ctx, expired); err != nil {
		return err
	}
	return inBatches(ctx, s, obsolete, func(w store.Writer, e *entry) error {
		r := e.record.Load()
		return deleteSession(w, r.User, r.ID)
	})
}

// inBatches calls fn for each item, in transactions of batchSize items each.
func inBatches[T any](ctx context.Context, s *Sessions, items []T, fn func(store.Writer, T) error) error {
	for batch := range slices.Chunk(items, batchSize) {
		err := s.update(ctx, func(w store.Writer) error {
			for _, item := range batch {
				if err := fn(w, item); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// due returns the sessions that have expired, or whose sign-in no longer counts, but not ended yet, and those that ended so long ago that no browser
// needs to be told.
func (s *Sessions) due(now time.Time) (expired, obsolete []*entry) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.memory.sessions {
		r := e.record.Load()
		switch {
		case r.Reason == "" && s.check(e, r, now) != nil:
			expired = append(expired, e)
		case r.Reason != "" && now.After(r.Expires.Add(keepEnded)):
			obsolete = append(obsolete, e)
		}
	}
	return expired, obsolete
}

// endExpired ends sessions that have expired.
func (s *Sessions) endExpired(ctx context.Context, expired []*entry) error {
	for batch := range slices.Chunk(expired, batchSize) {
		ended := map[Reason][]string{}
		err := s.update(ctx, func(w store.Writer) error {
			clear(ended)
			for _, e := range batch {
				err := rewrite(w, e, func(r *record, used int64) bool {
					r.Reason, r.Ended = s.expiry(r, used, s.clock.now()), s.clock.now()
					ended[r.Reason] = append(ended[r.Reason], r.ID)
					return r.Reason != ""
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		delete(ended, "") // another replica has stored a later use
		for reason, ids := range ended {
			s.count(reason, ids...)
		}
	}
	return nil
}

// writeUses stores when each session was last used, where memory has a later time than the store.
func (s *Sessions) writeUses(ctx context.Context) error {
	return s.writeUsesOf(ctx, s.usedSinceWritten(func(*record) bool { return true }))
}

// usedElsewhere is how much longer than its idle time a session may be unused where several replicas use the store: what one
// of them has not stored yet, others do not know.
const usedElsewhere = 2 * sweepEvery

// idle returns how long a session may be unused, as far as this replica knows.
func (s *Sessions) idle() time.Duration {
	idle := s.inForce.Load().Idle
	if s.shared {
		idle += usedElsewhere
	}
	return idle
}

// tellUses stores the uses of sessions that other replicas would take for idle before writeUses stores them.
func (s *Sessions) tellUses(ctx context.Context) error {
	if !s.shared {
		return nil
	}
	before := s.clock.now().Add(2*writeEvery - s.inForce.Load().Idle)
	return s.writeUsesOf(ctx, s.usedSinceWritten(func(r *record) bool { return r.Used.Before(before) }))
}

func (s *Sessions) writeUsesOf(ctx context.Context, entries []*entry) error {
	return inBatches(ctx, s, entries, func(w store.Writer, e *entry) error {
		return rewrite(w, e, func(r *record, used int64) bool {
			later := used > r.Used.UnixNano()
			if later {
				r.Used = time.Unix(0, used).UTC()
			}
			return later
		})
	})
}

// usedSinceWritten returns the live sessions that were used since their record, of which is reports true, was written, in
// the order of keys.
func (s *Sessions) usedSinceWritten(is func(*record) bool) []*entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []*entry
	for _, e := range s.memory.sessions {
		if r := e.record.Load(); r.Reason == "" && e.used.get() > r.Used.UnixNano() && is(r) {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *entry) int { // keys that are close to each other are cheapest written together
		return slices.Compare(recordKey(a.record.Load().User, a.record.Load().ID), recordKey(b.record.Load().User, b.record.Load().ID))
	})
	return list
}

// rewrite writes the record of a live session if change reports that it changed it; used is the latest use known.
func rewrite(w store.Writer, e *entry, change func(r *record, used int64) bool) error {
	known := e.record.Load()
	r, err := readRecord(w, known.User, known.ID)
	switch {
	case errors.Is(err, ErrNone) || errors.Is(err, store.ErrDamaged):
		return nil
	case err != nil:
		return err
	case r.Reason != "" || !change(&r, max(r.Used.UnixNano(), e.used.get())):
		return nil
	}
	return putRecord(w, r)
}

// sweepRecords deletes the tickets, the used logout tokens and the sent forms that have expired.
//
// A damaged ticket is deleted too, since nobody can redeem it. A damaged record of what was used once is kept: it cannot
// be told when it expires, and without it the token or the form could be used again.
func (s *Sessions) sweepRecords(ctx context.Context) error {
	var errs []error
	for prefix, damagedToo := range map[string]bool{prefixTicket: true, prefixLogout: false, prefixForm: false} {
		expired, err := s.expiredBelow(ctx, prefix, damagedToo)
		if err == nil {
			err = inBatches(ctx, s, expired, func(w store.Writer, key []byte) error { return w.Delete(key) })
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// expiredBelow returns the keys of the records below prefix that have expired and, if damagedToo is set, of those that
// cannot be read.
func (s *Sessions) expiredBelow(ctx context.Context, prefix string, damagedToo bool) (keys [][]byte, err error) {
	now := s.clock.now()
	err = s.store.View(ctx, func(r store.Reader) error {
		for e, err := range r.Scan([]byte(prefix), nil) {
			if err != nil && !errors.Is(err, store.ErrDamaged) {
				return err
			}
			var record struct{ Expires time.Time }
			expired := damagedToo
			if err == nil && json.Unmarshal(e.Value, &record) == nil {
				expired = !now.Before(record.Expires)
			}
			if expired {
				keys = append(keys, slices.Clone(e.Key))
			}
		}
		return nil
	})
	return keys, err
}
