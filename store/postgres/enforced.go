package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"sallyport/store"
)

// Whoever waits for a change to be enforced looks at the table of replicas again after firstLook, and then ever less often,
// at least once in renewEvery.
const (
	firstLook   = 2 * time.Millisecond
	lookTimeout = 2 * time.Second // for one query
)

// table is the table of replicas at one moment, and the newest revision then.
type table struct {
	newest    store.Revision
	processes []process
}

// process is a row of the table.
type process struct {
	name    string
	applied store.Revision
	fenced  bool // its lease has run out
}

// Enforced implements [store.Leaser]. All who wait share one query at a time. A query that fails is repeated until ctx ends.
func (s *Store) Enforced(ctx context.Context, revision store.Revision) (e store.Enforcement, err error) {
	for wait := firstLook; ; wait = min(2*wait, renewEvery) {
		found, failure := s.replicas.Do(ctx)
		if failure == nil {
			if revision == 0 {
				revision = found.newest
			}
			e, err = found.enforcement(revision), nil
			if len(e.Waiting) == 0 {
				return e, nil
			}
		} else if ctx.Err() == nil {
			err = s.failed(ctx, failure)
		}
		switch {
		case s.closing.Err() != nil:
			return e, store.ErrClosed
		case ctx.Err() != nil || !rest(ctx, wait):
			if err != nil {
				return e, fmt.Errorf("%w: %w", ctx.Err(), err)
			}
			return e, ctx.Err()
		}
	}
}

// readTable reads the table of replicas, which is what the looks of [Store.Enforced] share.
func (s *Store) readTable() (t table, err error) {
	ctx, cancel := context.WithTimeout(s.closing, lookTimeout)
	defer cancel()
	rows, err := s.reads.Query(ctx, `SELECT revision, coalesce(name, ''), coalesce(applied, 0), coalesce(renewed + lease < clock_timestamp(), true)
FROM sallyport_meta LEFT JOIN sallyport_replicas ON true`)
	if err != nil {
		return t, err
	}
	var p process
	_, err = pgx.ForEachRow(rows, []any{&t.newest, &p.name, &p.applied, &p.fenced}, func() error {
		if p.name != "" {
			t.processes = append(t.processes, p)
		}
		return nil
	})
	return t, err
}

// enforcement returns what replicas made of a revision.
func (t table) enforcement(revision store.Revision) store.Enforcement {
	states := map[string]state{}
	for _, p := range t.processes {
		states[p.name] = max(states[p.name], p.state(revision))
	}
	e := store.Enforcement{Revision: revision}
	for _, name := range slices.Sorted(maps.Keys(states)) {
		switch states[name] {
		case waits:
			e.Waiting = append(e.Waiting, name)
		case hasApplied:
			e.Applied = append(e.Applied, name)
		case isFenced:
			e.Fenced = append(e.Fenced, name)
		}
	}
	return e
}

// state is what a replica made of a change. If several processes have its name, what holds is the greatest: a process that
// ended without a word says nothing of the one that took its place, and one that may decide without the change says all.
type state int

const (
	isFenced state = 1 + iota
	hasApplied
	waits
)

func (p process) state(revision store.Revision) state {
	switch {
	case p.applied >= revision:
		return hasApplied
	case p.fenced:
		return isFenced
	}
	return waits
}
