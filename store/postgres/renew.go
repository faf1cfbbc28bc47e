package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"sallyport/store"
)

// keepLease renews the lease until ctx ends, and then gives it back.
func (s *Store) keepLease(ctx context.Context) error {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	renewing, cancel := outlast(ctx, time.Second)
	defer cancel()
	for ctx.Err() == nil {
		err := s.renew(renewing)
		s.noteRenewal(ctx, err)
		s.lease.look()
		s.awaitRenewal(ctx, tick.C)
	}
	ending, end := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer end()
	_, _ = s.control.Exec(ending, "DELETE FROM sallyport_replicas WHERE process = $1", s.lease.process) // the lease runs out otherwise
	return ctx.Err()
}

// awaitRenewal returns at the next tick, or sooner when every follower has applied more than the last renewal said. There
// are several followers, and a renewal for each would say nothing new.
func (s *Store) awaitRenewal(ctx context.Context, tick <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
			return
		case <-s.lease.applied:
			if s.lease.oldest() > s.lease.said {
				return
			}
		}
	}
}

// outlast returns a context that ends some time after ctx. A renewal must not be cut off by the end of this process: the
// database might make it after the row was deleted.
func outlast(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if rest(longer, by) {
			cancel()
		}
	})
	return longer, func() { stop(); cancel() }
}

// noteRenewal keeps why renewals fail, logs when they begin to, and when they succeed again, and leaves a server that does
// not commit.
func (s *Store) noteRenewal(ctx context.Context, err error) {
	failed := s.failure.Load() != nil
	switch {
	case ctx.Err() != nil:
		return
	case err == nil:
		s.failure.Store(nil)
		if failed {
			s.log.Info("the database confirms again that this replica is current")
		}
		return
	}
	err = explain(err)
	s.failure.Store(&err)
	if !failed {
		s.log.Warn("the database does not confirm that this replica is current; it stops deciding when the lease runs out", "lease", s.lease.length.String(), "err", err)
	}
	if commitsNothing(err) {
		s.moveOn()
	}
}

// commitsNothing reports whether an error is of a server that may not be the primary any more: it does not respond, does not
// wait for its standby, takes no writes, or lacks changes.
func commitsNothing(err error) bool {
	var refused *pgconn.PgError
	var warned notDurable
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errOtherHistory) || errors.As(err, &warned) || errors.As(err, &refused) && refused.Code == "25006"
}

// Err returns nil, or why the database takes no changes of this process. It is found out by [Store.Run].
func (s *Store) Err() error {
	if failure := s.failure.Load(); failure != nil {
		return fmt.Errorf("%w: %w", store.ErrUnreachable, *failure)
	}
	return nil
}

// lookAtLease tells those who follow when the lease runs out, whatever the renewal waits for.
func (s *Store) lookAtLease(ctx context.Context) error {
	for rest(ctx, lookEvery) {
		s.lease.look()
	}
	return ctx.Err()
}

var errOtherHistory = errors.New("the newest change that this replica knows is not in the database: what came since is read, unless another database took its place")

// renew writes that this replica is alive and what it has applied, commits that, and only then reads the newest revision:
// a change that is committed later finds the row. The statements are one message. In a database with another history the
// row is not renewed.
func (s *Store) renew(ctx context.Context) error {
	ctx, cancel := untilAfter(ctx, time.Second, min(renewTimeout, s.lease.length))
	defer cancel()
	start, applied := bootTime(), s.lease.oldest()
	s.lease.said = applied
	pooled, err := s.control.Acquire(ctx)
	if err != nil {
		return err
	}
	defer pooled.Release()
	conn := pooled.Conn()
	forgetWarning(conn)
	results, err := conn.PgConn().Exec(ctx, s.renewal(applied)).ReadAll()
	if err == nil {
		err = demandDurable(conn)
	}
	if err != nil {
		return err
	}
	revision, included, err := readRenewal(results)
	switch {
	case err != nil:
		return err
	case !included:
		s.wake()
		return errOtherHistory
	}
	s.lease.add(renewal{start, revision})
	s.metrics.renewed()
	if revision > applied {
		s.wake()
	}
	return nil
}

// untilAfter returns a context that ends after timeout, or some time after ctx: a renewal that is given up may still be made,
// after the lease was given back.
func untilAfter(ctx context.Context, some, timeout time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	stop := context.AfterFunc(ctx, func() {
		if rest(longer, some) {
			cancel()
		}
	})
	return longer, func() { stop(); cancel() }
}

// renewal returns the statements of one renewal.
func (s *Store) renewal(applied store.Revision) string {
	included := s.history.included()
	return fmt.Sprintf(`BEGIN; INSERT INTO sallyport_replicas (process, name, renewed, lease, applied)
SELECT %s, %s, clock_timestamp(), interval '%d microseconds', %d WHERE %s
ON CONFLICT (process) DO UPDATE SET renewed = excluded.renewed, applied = excluded.applied; COMMIT; SELECT revision, format, %s FROM sallyport_meta`,
		quote(s.lease.process), quote(s.lease.replica), (s.lease.length + fenceMargin).Microseconds(), applied, included, included)
}

// readRenewal returns the newest revision, and whether the database has what this process knows.
func readRenewal(results []*pgconn.Result) (revision store.Revision, included bool, err error) {
	if len(results) != 4 || len(results[3].Rows) != 1 {
		return 0, false, fmt.Errorf("%w: the table sallyport_meta is empty", store.ErrUnsound)
	}
	row, written := results[3].Rows[0], results[1].CommandTag.RowsAffected() == 1
	var found int
	if _, err := fmt.Sscan(string(row[0])+" "+string(row[1]), &revision, &found); err != nil {
		return 0, false, err
	}
	return revision, written && string(row[2]) == "t", demandFormat(found)
}

// quote returns text as a literal of SQL. The name of a replica is checked when the store is opened.
func quote(text string) string { return "'" + text + "'" }
