package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"sallyport/store"
)

// How often a replica renews its lease, how long one renewal may take, and how often it looks whether the lease has run out.
const (
	renewEvery   = 200 * time.Millisecond
	renewTimeout = 5 * time.Second
	lookEvery    = 50 * time.Millisecond
)

// Rows of processes that ended without a word are deleted when their lease has run out for so long, which is looked at
// once in clearEvery.
const (
	goneAfter  = "10 minutes"
	clearEvery = time.Minute
)

// fenceMargin is how much longer than the lease others wait for a replica: their clocks may run faster.
const fenceMargin = 500 * time.Millisecond

// lease is the right of this replica to decide. A renewal is a write, since a server that is the primary no more still
// answers reads, and then reads the newest revision. Whoever has applied that revision may decide until the lease, counted
// from before the renewal, runs out. Whoever commits a later change finds the renewal in the table, and waits for it.
type lease struct {
	process string // names the row of this process alone: a replica that is replaced has another process for a while
	replica string
	length  time.Duration

	renewals atomic.Pointer[[]renewal] // those that may still matter, the newest first

	mu        sync.Mutex // guards the fields below
	followers []*follower
	changed   chan struct{} // closed when the error of a follower may be another
	applied   chan struct{} // has a value when a follower has applied a change
}

// renewal is one renewal of the lease.
type renewal struct {
	start    time.Duration // before it was sent, by a clock that counts the time in which the machine sleeps
	revision store.Revision
}

func newLease(replica string, length time.Duration) *lease {
	l := &lease{process: newProcess(), replica: replica, length: length, changed: make(chan struct{}), applied: make(chan struct{}, 1)}
	l.renewals.Store(&[]renewal{})
	return l
}

// follower is memory that follows the store. It implements [store.Follower].
type follower struct {
	lease   *lease
	applied atomic.Uint64
	failed  bool // whether Err gave an error when it was looked at last; guarded by the mutex of the lease
}

// Follow implements [store.Leaser].
func (s *Store) Follow() store.Follower {
	f := &follower{lease: s.lease, failed: true} // memory has applied nothing yet
	s.lease.mu.Lock()
	defer s.lease.mu.Unlock()
	s.lease.followers = append(s.lease.followers, f)
	return f
}

// Applied implements [store.Follower].
func (f *follower) Applied(revision store.Revision) {
	f.applied.Store(uint64(revision))
	select {
	case f.lease.applied <- struct{}{}:
	default: // the next renewal has yet to see the last one
	}
}

// Changed implements [store.Follower].
func (f *follower) Changed() <-chan struct{} {
	f.lease.mu.Lock()
	defer f.lease.mu.Unlock()
	return f.lease.changed
}

// Err implements [store.Follower].
func (f *follower) Err() error { return f.lease.err(store.Revision(f.applied.Load()), bootTime()) }

// err returns nil if memory that has the revision applied may be decided from at now.
func (l *lease) err(applied store.Revision, now time.Duration) error {
	renewals := *l.renewals.Load()
	for _, r := range renewals {
		if now >= r.start+l.length {
			break
		}
		if r.revision <= applied {
			return nil
		}
	}
	if len(renewals) == 0 {
		return fmt.Errorf("%w: it has not reached the database yet", store.ErrStale)
	}
	return fmt.Errorf("%w: the database confirmed what it knows %s ago, and it may be %s", store.ErrStale, (now - renewals[0].start).Round(time.Second), l.length)
}

// add keeps a renewal, and those before that are needed.
func (l *lease) add(r renewal) {
	remaining := []renewal{r}
	for _, old := range *l.renewals.Load() {
		if r.start < old.start+l.length && old.revision < remaining[len(remaining)-1].revision {
			remaining = append(remaining, old)
		}
	}
	l.renewals.Store(&remaining)
}

// oldest returns the revision that every follower has applied.
func (l *lease) oldest() store.Revision {
	l.mu.Lock()
	defer l.mu.Unlock()
	var oldest store.Revision
	for i, f := range l.followers {
		if applied := store.Revision(f.applied.Load()); i == 0 || applied < oldest {
			oldest = applied
		}
	}
	return oldest
}

// look tells the followers whose error begins or ends.
func (l *lease) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, moved := bootTime(), false
	for _, f := range l.followers {
		if failed := l.err(store.Revision(f.applied.Load()), now) != nil; failed != f.failed {
			f.failed, moved = failed, true
		}
	}
	if moved {
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

// keepLease renews the lease until ctx ends, and then gives it back.
func (s *Store) keepLease(ctx context.Context) error {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		err := s.renew(ctx)
		s.noteRenewal(ctx, err)
		s.lease.look()
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-s.lease.applied:
		}
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = s.reads.Exec(ending, "DELETE FROM sallyport_replicas WHERE process = $1", s.lease.process) // the lease runs out otherwise
	return ctx.Err()
}

// clearGone deletes the rows of processes that are gone. One that comes back writes its row again before it decides.
func (s *Store) clearGone(ctx context.Context) error {
	for ctx.Err() == nil {
		deleting, cancel := context.WithTimeout(ctx, renewTimeout)
		_, err := s.reads.Exec(deleting, "DELETE FROM sallyport_replicas WHERE renewed + lease < clock_timestamp() - $1::interval", goneAfter)
		cancel()
		if err != nil {
			s.log.Debug("the rows of replicas that are gone cannot be deleted, and it is tried again", "err", err)
		}
		rest(ctx, clearEvery)
	}
	return ctx.Err()
}

// Err returns nil, or why the database takes no changes of this process. It is found out by [Store.Run].
func (s *Store) Err() error {
	if failure := s.failure.Load(); failure != nil {
		return fmt.Errorf("%w: %w", store.ErrUnreachable, *failure)
	}
	return nil
}

// noteRenewal keeps why renewals fail, and logs when they begin to, and when they succeed again.
func (s *Store) noteRenewal(ctx context.Context, err error) {
	failed := s.failure.Load() != nil
	switch {
	case ctx.Err() != nil:
		return
	case err != nil && !failed:
		s.log.Warn("the database does not confirm that this replica is current; it stops deciding when the lease runs out", "lease", s.lease.length, "err", err)
	case err == nil && failed:
		s.log.Info("the database confirms again that this replica is current")
	}
	if err == nil {
		s.failure.Store(nil)
	} else {
		s.failure.Store(&err)
	}
}

// lookAtLease tells those who follow when the lease runs out, whatever the renewal waits for.
func (s *Store) lookAtLease(ctx context.Context) error {
	for rest(ctx, lookEvery) {
		s.lease.look()
	}
	return ctx.Err()
}

// renew writes that this replica is alive and what it has applied, commits that, and only then reads the newest revision:
// a change that is committed later finds the row. The statements are one message.
func (s *Store) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(renewTimeout, s.lease.length))
	defer cancel()
	start, applied := bootTime(), s.lease.oldest()
	conn, err := s.reads.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	text := fmt.Sprintf(`BEGIN; INSERT INTO sallyport_replicas (process, name, renewed, lease, applied) VALUES (%s, %s, clock_timestamp(), interval '%d microseconds', %d)
ON CONFLICT (process) DO UPDATE SET renewed = excluded.renewed, applied = excluded.applied; COMMIT; SELECT revision FROM sallyport_meta`,
		quote(s.lease.process), quote(s.lease.replica), (s.lease.length + fenceMargin).Microseconds(), applied)
	results, err := conn.Conn().PgConn().Exec(ctx, text).ReadAll()
	if err != nil {
		return err
	}
	revision, err := lastNumber(results)
	if err != nil {
		return err
	}
	s.lease.add(renewal{start, store.Revision(revision)})
	s.metrics.renewed()
	if store.Revision(revision) > applied {
		s.feed.Wake()
	}
	return nil
}

// lastNumber returns the number that the last of several statements selected.
func lastNumber(results []*pgconn.Result) (n uint64, err error) {
	if len(results) == 0 || len(results[len(results)-1].Rows) != 1 {
		return 0, errors.New("the database has no revision")
	}
	_, err = fmt.Sscan(string(results[len(results)-1].Rows[0][0]), &n)
	return n, err
}

// quote returns text as a literal of SQL. The name of a replica is checked when the store is opened.
func quote(text string) string { return "'" + text + "'" }
