package postgres

import (
	"context"
	"errors"
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
	lookTimeout = 2 * time.Second // for one look
)

// table is the table of replicas at one moment, and the newest revision then.
type table struct {
	newest    store.Revision
	processes []process
	ended     []string // have rows, and have ended: see [Store.Forget]
}

// process is a row of the table.
type process struct {
	id, name string
	renewed  string        // another one after each renewal
	lease    time.Duration // with the margin
	applied  store.Revision
	fenced   bool // its lease has run out
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

// readTable reads the table of replicas, which is what the looks of [Store.Enforced] share. It is believed only of a server
// that commits afterwards: one that was the primary has the rows of former renewals.
func (s *Store) readTable() (t table, err error) {
	ctx, cancel := context.WithTimeout(s.closing, lookTimeout)
	defer cancel()
	conn, err := s.reads.Acquire(ctx)
	if err != nil {
		return t, err
	}
	defer conn.Release()
	forgetWarning(conn.Conn())
	included := false
	b := &pgx.Batch{}
	b.Queue("SELECT "+includedSQL, s.history.known()...).QueryRow(func(row pgx.Row) error { return row.Scan(&included) })
	b.Queue(`SELECT revision, coalesce(process, ''), coalesce(name, ''), coalesce(renewed::text, ''), coalesce((extract(epoch FROM lease) * 1000000)::bigint, 0), coalesce(applied, 0)
FROM sallyport_meta LEFT JOIN sallyport_replicas ON true`).Query(func(rows pgx.Rows) error {
		t, err = scanTable(rows)
		return err
	})
	b.Queue(commitSomething)
	if err := conn.SendBatch(ctx, b).Close(); err != nil {
		return t, err
	}
	if !included { // the rows of another database say nothing
		return table{}, errOtherHistory
	}
	t.fence(&s.others, bootTime())
	return t, demandDurable(conn.Conn())
}

func scanTable(rows pgx.Rows) (t table, err error) {
	var p process
	var microseconds int64
	_, err = pgx.ForEachRow(rows, []any{&t.newest, &p.id, &p.name, &p.renewed, &microseconds, &p.applied}, func() error {
		p.lease = time.Duration(microseconds) * time.Microsecond
		if p.id != "" {
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

// fenceMargin is how much longer than its lease others wait for a process: their clocks may run faster.
const fenceMargin = 500 * time.Millisecond

// Every process looks at the rows of the others once in observeEvery, to know how long they were not renewed. Rows of
// processes that ended without a word are deleted when their lease has run out for some time.
const (
	observeEvery = time.Second
	goneAfter    = "10 minutes"
	clearEvery   = time.Minute
)

// observeOthers looks at the rows of other processes until ctx ends, and deletes those of processes that are gone. One that
// comes back writes its row again before it decides.
func (s *Store) observeOthers(ctx context.Context) error {
	for cleared := -clearEvery; ctx.Err() == nil; rest(ctx, observeEvery) {
		t, err := s.replicas.Do(ctx)
		var gone []string
		for _, p := range t.processes {
			if p.fenced {
				gone = append(gone, p.id)
			}
		}
		for _, process := range t.ended {
			err = errors.Join(err, s.forget(ctx, process))
		}
		if err == nil && len(gone) > 0 && bootTime()-cleared >= clearEvery {
			cleared = bootTime()
			err = s.clear(ctx, gone)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Debug("the table of replicas cannot be used, and it is tried again", "err", err)
		}
	}
	return ctx.Err()
}

// clear deletes the rows of those processes whose lease has run out for some time.
func (s *Store) clear(ctx context.Context, processes []string) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	_, err := s.reads.Exec(ctx, "DELETE FROM sallyport_replicas WHERE process = ANY($1) AND renewed + lease < clock_timestamp() - $2::interval", processes, goneAfter)
	return err
}
