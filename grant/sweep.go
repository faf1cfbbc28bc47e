package grant

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"sallyport/store"
)

const (
	sweepBatch = 500     // records that one sweep ends, and that one transaction deletes
	maxEnded   = 100_000 // requests and grants of each kind that are stored after they ended, the newest
)

// EndedByLeaving is what ends the requests and grants of somebody who left or was suspended.
const EndedByLeaving = "the person left or was suspended"

// Due is what has to end: nobody decided in time, the time is over, or the person left or was suspended.
type Due struct {
	Expired, Abandoned []Request // those of people who left or were suspended are abandoned
	Ended, Dead        []Grant   // those of people who left or were suspended are dead
}

// Empty reports whether nothing has to end.
func (d Due) Empty() bool {
	return len(d.Expired)+len(d.Abandoned)+len(d.Ended)+len(d.Dead) == 0
}

// Due returns what has to end now, of each kind no more than one sweep ends. alive reports whether a person is still the
// same user.
func (g *Grants) Due(now time.Time, alive func(Person) bool) (due Due) {
	if g == nil {
		return due
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.memory.undecided {
		switch {
		case !r.OpenAt(now) && len(due.Expired) < sweepBatch:
			due.Expired = append(due.Expired, *r)
		case r.OpenAt(now) && !alive(r.Person) && len(due.Abandoned) < sweepBatch:
			due.Abandoned = append(due.Abandoned, *r)
		}
	}
	for granted := range g.memory.unended() {
		switch {
		case !now.Before(granted.Until) && len(due.Ended) < sweepBatch:
			due.Ended = append(due.Ended, *granted)
		case now.Before(granted.Until) && !alive(granted.Person) && len(due.Dead) < sweepBatch:
			due.Dead = append(due.Dead, *granted)
		}
	}
	return due
}

// unended yields the grants of which it is not stored that they ended.
func (m *memory) unended() iter.Seq[*Grant] {
	return func(yield func(*Grant) bool) {
		for _, grants := range m.grants {
			for _, granted := range grants {
				if granted.Ended.IsZero() && !yield(granted) {
					return
				}
			}
		}
	}
}

// Sweep stores that what is due has ended, unless it ended otherwise meanwhile.
func (g *Grants) Sweep(ctx context.Context, due Due, now time.Time) error {
	const left = EndedByLeaving
	return g.change(ctx, func(w store.Writer) error {
		for reason, requests := range map[string][]Request{"": due.Expired, left: due.Abandoned} {
			for _, known := range requests {
				r := &Request{ID: known.ID}
				err := rewrite(w, r, g.readRequest(w, r), func() bool {
					open := r.State == StateOpen
					r.State, r.Decided, r.Why = StateExpired, now, reason
					return open
				})
				if err != nil {
					return err
				}
			}
		}
		for by, grants := range map[string][]Grant{"": due.Ended, left: due.Dead} {
			for _, known := range grants {
				granted := &Grant{ID: known.ID, Person: Person{ID: known.Person.ID}}
				err := rewrite(w, granted, g.readGrant(w, granted), func() bool {
					open := granted.Ended.IsZero()
					granted.Ended, granted.EndedBy = now, by
					if now.After(granted.Until) {
						granted.Ended = granted.Until
					}
					return open
				})
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// rewrite writes a record, of which err says whether it could be read again, if change reports that there is something to
// write. A record that is gone or damaged stays so.
func rewrite(w store.Writer, record keyed, err error, change func() bool) error {
	switch {
	case errors.Is(err, ErrNone) || errors.Is(err, store.ErrDamaged):
		return nil
	case err != nil || !change():
		return err
	}
	return put(w, record)
}

// Prune deletes the requests and grants that ended long ago, and the oldest if there are too many.
func (g *Grants) Prune(ctx context.Context, now time.Time) error {
	for batch := range slices.Chunk(g.obsolete(now), sweepBatch) {
		err := g.change(ctx, func(w store.Writer) error {
			for _, key := range batch {
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

// ended is a record that may be deleted at some time.
type ended struct {
	key []byte
	at  time.Time
}

// obsolete returns the keys of records to delete.
func (g *Grants) obsolete(now time.Time) (keys [][]byte) {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	var requests, grants []ended
	for _, r := range g.memory.requests {
		if r.State != StateOpen {
			requests = append(requests, ended{r.key(), r.Decided})
		}
	}
	for _, all := range g.memory.grants {
		for _, granted := range all {
			if !granted.Ended.IsZero() {
				grants = append(grants, ended{granted.key(), granted.Ended})
			}
		}
	}
	g.mu.Unlock()
	for _, list := range [][]ended{requests, grants} {
		slices.SortFunc(list, func(a, b ended) int { return cmp.Or(a.at.Compare(b.at), slices.Compare(a.key, b.key)) })
		surplus := max(0, len(list)-maxEnded)
		for i, e := range list {
			if i < surplus || now.Sub(e.at) > Keep {
				keys = append(keys, e.key)
			}
		}
	}
	return keys
}
