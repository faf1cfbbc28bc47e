package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"sallyport/store"
)

// pollEvery is the interval at which changes of other processes are looked for, whether or not the database has told of
// them: a notification is lost with its connection.
const pollEvery = 200 * time.Millisecond

// How long a read of changes may take, and how often the connection that receives notifications is tried.
const (
	readTimeout = 5 * time.Second
	pingEvery   = 30 * time.Second
)

// How many changes are read at once.
const (
	pulled      = 256
	pulledBytes = 16 << 20
)

// Watch yields every change after a revision, in order, and waits for more. While the database cannot be reached it waits:
// whoever must not act on old knowledge asks for the freshness of the replica.
func (s *Store) Watch(ctx context.Context, after store.Revision) iter.Seq2[store.Change, error] {
	return s.feed.Watch(ctx, after, s.wait)
}

// wait returns when the feed has grown, or an error that ends a watch.
func (s *Store) wait(ctx context.Context, grown <-chan struct{}) error {
	if err := s.pull(ctx); errors.Is(err, store.ErrBehind) {
		return err
	} else if err != nil { // which the renewal of the lease tells of
		s.log.Debug("changes cannot be read from the database, and are tried again", "err", err)
	}
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-grown:
	case <-timer.C:
	}
	return nil
}

// pull adds the changes that the feed does not have to it.
func (s *Store) pull(ctx context.Context) error {
	s.pulling.Lock()
	defer s.pulling.Unlock()
	ctx, cancel := context.WithTimeout(ctx, readTimeout) // a connection may be dead without a word
	defer cancel()
	for {
		changes, newest, err := s.changesAfter(ctx, s.known)
		if err != nil || newest == s.known {
			return err
		}
		s.feed.Add(changes)
		if s.feed.Newest() < newest.revision { // the last one is damaged: whoever follows reads everything again
			s.feed.Restart(newest.revision)
		}
		s.known = newest
	}
}

// changesAfter reads changes after the one that is known, and returns the newest that it read. It leaves out those that
// are damaged. If the database has another change in the place of the known one, or none of its revision, the error is
// ErrBehind. A known change that is missing was deleted since it is old.
func (s *Store) changesAfter(ctx context.Context, known mark) (changes []store.Change, newest mark, err error) {
	rows, err := s.reads.Query(ctx, `SELECT revision, id, CASE WHEN revision > $1 THEN writes END FROM sallyport_changes WHERE revision >= $1
UNION ALL SELECT revision, id, NULL FROM sallyport_meta WHERE revision <= $1 ORDER BY revision LIMIT $2`, number(known.revision), pulled)
	if err != nil {
		return nil, known, err
	}
	defer rows.Close()
	newest = known
	for size := 0; size < pulledBytes && rows.Next(); {
		var row mark
		var id, record []byte
		if err := rows.Scan(&row.revision, &id, &record); err != nil {
			return nil, known, err
		}
		row.id = string(id)
		switch {
		case row == known:
			continue
		case row.revision <= known.revision:
			return nil, known, fmt.Errorf("%w: change %d is not there any more: another database took its place", store.ErrBehind, known.revision)
		}
		newest = row
		size += len(record)
		if writes, err := decodeWrites(record); err == nil {
			changes = append(changes, store.Change{Revision: row.revision, Writes: writes})
		}
	}
	return changes, newest, rows.Err()
}

// Run renews the lease and listens for notifications of the database, until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.keepLease(ctx) })
	g.Go(func() error { return s.lookAtLease(ctx) })
	g.Go(func() error { return s.clearGone(ctx) })
	g.Go(func() error { return s.listenAgain(ctx) })
	return g.Wait()
}

// listenAgain listens for notifications, by which a change of another process is seen at once, and not after the next poll.
func (s *Store) listenAgain(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := s.listen(ctx); err != nil && ctx.Err() == nil {
			s.log.Debug("the database does not tell of changes at the moment; they are looked for every 200 ms", "err", err)
		}
		rest(ctx, time.Second)
	}
	return ctx.Err()
}

func (s *Store) listen(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, s.reads.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "LISTEN sallyport"); err != nil {
		return err
	}
	for {
		if err := s.await(ctx, conn); err != nil {
			return err
		}
		s.feed.Wake()
	}
}

// await returns when the database notifies, and from time to time if the connection is alive.
func (s *Store) await(ctx context.Context, conn *pgx.Conn) error {
	waiting, cancel := context.WithTimeout(ctx, pingEvery)
	defer cancel()
	_, err := conn.WaitForNotification(waiting)
	if waiting.Err() == nil || ctx.Err() != nil {
		return err
	}
	pinging, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return conn.Ping(pinging)
}
