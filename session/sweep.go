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
	mostAtOnce = 1000      // records a transaction
	remembered = time.Hour // how long after its lifetime a cookie still hears that its session is over
)

// sweep ends what is past its time, and forgets what is long over.
func (s *Sessions) sweep(ctx context.Context) error {
	overdue, forgotten := s.due(s.clock.now())
	if len(overdue) > 0 {
		s.mirror.Notify() // live requests hear of it even when the store will not write
	}
	for chunk := range slices.Chunk(overdue, mostAtOnce) {
		if err := s.endOverdue(ctx, chunk); err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(forgotten, mostAtOnce) {
		err := s.update(ctx, func(w store.Writer) error {
			for _, e := range chunk {
				r := e.record.Load()
				if err := forget(w, r.User, r.ID); err != nil {
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

// due lists the sessions past their time but not ended, and those that ended so long ago that nobody asks.
func (s *Sessions) due(now time.Time) (overdue, forgotten []*entry) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.memory.sessions {
		r := e.record.Load()
		switch {
		case r.Reason == "" && s.over(r, e.used.Load(), now) != "":
			overdue = append(overdue, e)
		case r.Reason != "" && now.After(r.Expires.Add(remembered)):
			forgotten = append(forgotten, e)
		}
	}
	return overdue, forgotten
}

func (s *Sessions) endOverdue(ctx context.Context, chunk []*entry) error {
	ended := map[Reason]int{}
	err := s.update(ctx, func(w store.Writer) error {
		clear(ended)
		return s.rewrite(w, chunk, func(r *record, used int64) bool {
			r.Reason = s.over(r, used, s.clock.now())
			r.Ended = s.clock.now()
			if r.Reason != "" {
				ended[r.Reason]++
			}
			return r.Reason != ""
		})
	})
	if err != nil {
		return err
	}
	for reason, n := range ended {
		s.count(reason, n)
	}
	return nil
}

// writeUses writes down when each session was last used, where the store does not know yet.
func (s *Sessions) writeUses(ctx context.Context) error {
	for chunk := range slices.Chunk(s.used(), mostAtOnce) {
		err := s.update(ctx, func(w store.Writer) error {
			return s.rewrite(w, chunk, func(r *record, used int64) bool {
				later := used > r.Used.UnixNano()
				if later {
					r.Used = time.Unix(0, used).UTC()
				}
				return later
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// used lists the live sessions used since their record was written.
func (s *Sessions) used() []*entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []*entry
	for _, e := range s.memory.sessions {
		if r := e.record.Load(); r.Reason == "" && e.used.Load() > r.Used.UnixNano() {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *entry) int { // neighbours in the store are cheapest written together
		return slices.Compare(recordKey(a.record.Load().User, a.record.Load().ID), recordKey(b.record.Load().User, b.record.Load().ID))
	})
	return list
}

// rewrite changes the records of live sessions where change says so; used is the latest use known.
func (s *Sessions) rewrite(w store.Writer, entries []*entry, change func(r *record, used int64) bool) error {
	for _, e := range entries {
		had := e.record.Load()
		r, err := readRecord(w, had.User, had.ID)
		switch {
		case errors.Is(err, ErrNone) || errors.Is(err, store.ErrDamaged):
			continue
		case err != nil:
			return err
		case r.Reason != "" || !change(&r, max(r.Used.UnixNano(), e.used.Load())):
			continue
		}
		if err := putRecord(w, r); err != nil {
			return err
		}
	}
	return nil
}

// sweepTickets deletes the tickets nobody came for.
func (s *Sessions) sweepTickets(ctx context.Context) error {
	var stale [][]byte
	err := s.store.View(ctx, func(r store.Reader) error {
		now := s.clock.now()
		stale = nil
		for e, err := range r.Scan([]byte(prefixTicket), nil) {
			var t ticketRecord
			if err != nil && !errors.Is(err, store.ErrDamaged) {
				return err
			}
			if err != nil || json.Unmarshal(e.Value, &t) != nil || !now.Before(t.Expires) {
				stale = append(stale, slices.Clone(e.Key))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(stale, mostAtOnce) {
		err := s.update(ctx, func(w store.Writer) error {
			for _, key := range chunk {
				if err := w.Delete(key); err != nil {
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
