package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
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
	pingEvery   = 10 * time.Second
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

// puller reads changes for all who watch.
type puller struct {
	wakes atomic.Uint64 // how often those who watch were woken

	mu   sync.Mutex // held while changes are read; guards the fields below
	seen uint64     // wakes before the last read began
	last time.Time  // when the last read began
}

// wake has those who watch look for changes now.
func (s *Store) wake() {
	s.puller.wakes.Add(1)
	s.feed.Wake()
}

// pull adds the changes that the feed does not have to it, unless somebody did that since the last wake and interval.
func (s *Store) pull(ctx context.Context) error {
	wakes := s.puller.wakes.Load()
	s.puller.mu.Lock()
	defer s.puller.mu.Unlock()
	if s.puller.seen >= wakes && time.Since(s.puller.last) < pollEvery {
		return nil
	}
	seen, begin := s.puller.wakes.Load(), time.Now()
	ctx, cancel := context.WithTimeout(ctx, readTimeout) // a connection may be dead without a word
	defer cancel()
	conn, err := s.control.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	for more := true; more; {
		if more, err = s.pullFrom(ctx, conn.Conn()); err != nil {
			return err
		}
	}
	s.puller.seen, s.puller.last = seen, begin
	return nil
}

// pullFrom adds changes that it reads over conn, and reports whether there may be more.
func (s *Store) pullFrom(ctx context.Context, conn *pgx.Conn) (more bool, err error) {
	known := s.history.newest()
	p, err := readChanges(ctx, conn, known)
	if errors.Is(err, store.ErrBehind) {
		if failed := confirm(ctx, conn); failed != nil { // a former primary is behind too
			return false, failed
		}
	}
	if err != nil || p.newest == known {
		return false, err
	}
	if !s.history.isDurable(p.newest) {
		if err := confirm(ctx, conn); err != nil {
			return false, err
		}
	}
	s.feed.Add(p.changes)
	if !p.follows || s.feed.Newest() < p.newest.revision { // whoever follows reads everything again
		s.feed.Restart(p.newest.revision)
	}
	s.history.pull(p.newest)
	return true, nil
}

// publish hands the changes of a transaction to those who watch, without reading them if they know all before.
func (s *Store) publish(t *transaction) {
	if len(t.changes) == 0 {
		return
	}
	s.history.commit(t.newest)
	if s.puller.mu.TryLock() {
		if s.history.newest() == t.begin {
			s.feed.Add(t.changes)
			s.history.pull(t.newest)
		}
		s.puller.mu.Unlock()
	}
	s.wake()
}

// page is changes that were read together.
type page struct {
	changes []store.Change // without those that are damaged
	newest  mark           // of all that were read, or the known one
	follows bool           // no change between the known one and these is missing
}

// readChanges reads changes after the one that is known. If the database has another change in the place of the known one,
// or none of its revision, the error is ErrBehind. A known change that is missing was deleted since it is old, or the
// database is another one: that cannot be told, so that the changes do not follow it.
func readChanges(ctx context.Context, conn *pgx.Conn, known mark) (page, error) {
	rows, err := conn.Query(ctx, `SELECT revision, id, CASE WHEN revision > $1 THEN writes END FROM sallyport_changes WHERE revision >= $1
UNION ALL SELECT revision, id, NULL FROM sallyport_meta WHERE revision <= $1 ORDER BY revision LIMIT $2`, number(known.revision), pulled)
	if err != nil {
		return page{}, err
	}
	defer rows.Close()
	p := page{newest: known, follows: known.revision == 0}
	for size := 0; size < pulledBytes && rows.Next(); {
		var found mark
		var id, record []byte
		if err := rows.Scan(&found.revision, &id, &record); err != nil {
			return page{}, err
		}
		found.id = string(id)
		switch {
		case found == known:
			p.follows = true
			continue
		case found.revision <= known.revision:
			return page{}, fmt.Errorf("%w: change %d is not there any more: another database took its place", store.ErrBehind, known.revision)
		}
		p.newest = found
		size += len(record)
		if writes, err := decodeWrites(record); err == nil {
			p.changes = append(p.changes, store.Change{Revision: found.revision, Writes: writes})
		}
	}
	return p, rows.Err()
}

// Run renews the lease and listens for notifications of the database, until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.keepLease(ctx) })
	g.Go(func() error { return s.lookAtLease(ctx) })
	g.Go(func() error { return s.observeOthers(ctx) })
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
	config := s.control.Config().ConnConfig
	if err := s.useCurrent(config); err != nil {
		return err
	}
	hosts := s.skip.Load()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "LISTEN sallyport"); err != nil {
		return err
	}
	for hosts == s.skip.Load() {
		if err := s.await(ctx, conn); err != nil {
			return err
		}
		s.wake()
	}
	return nil
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
