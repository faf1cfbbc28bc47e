package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"sallyport/store"
	"sallyport/store/internal/checksum"
	"sallyport/store/internal/group"
)

// Old changes are deleted when there are more bytes of them than maxBytes, or when they are older than maxAge. That is
// looked at when bytes have grown by compactEvery.
const (
	maxBytes     = 64 << 20
	maxAge       = "1 hour"
	compactEvery = 1 << 20
	pause        = 100 * time.Millisecond // before the next attempt to reach the database
)

// Update makes one revision of what fn writes. Updates are committed in groups.
func (s *Store) Update(ctx context.Context, fn func(store.Writer) error) (store.Revision, error) {
	return s.group.Update(ctx, fn)
}

// transaction is one attempt to commit updates together.
type transaction struct {
	base       store.Revision // the next revision is greater
	begin      mark           // the newest change before the transaction
	newest     mark           // the newest change, after it too
	bytes      int64
	before     int64 // bytes before the transaction
	changes    []store.Change
	written    writes
	committing bool // something may have been committed
}

// commitAll commits updates together. If the database cannot be reached, it tries again for a while. It does not end with
// the context of one update, since there are others.
func (s *Store) commitAll(updates []*group.Update) {
	ctx, cancel := context.WithTimeout(s.closing, commitTimeout)
	defer cancel()
	for told := false; ; {
		t := &transaction{base: store.Revision(s.base.Load())}
		err := s.transact(ctx, t, updates)
		if err != nil && t.committing {
			err = findOut(ctx, err, func() (bool, error) { return s.find(ctx, t.newest) })
		}
		if err == nil {
			s.metrics.count("update", "committed")
			s.publish(t)
			group.Finish(updates, nil)
			return
		}
		if commitsNothing(err) {
			s.moveOn()
		}
		if errors.Is(err, store.ErrUncertain) || !passes(err) || !rest(ctx, pause) {
			s.metrics.count("update", "failed")
			group.Finish(updates, s.failed(s.closing, explain(err)))
			return
		}
		if !told { // and not ten times a second
			s.log.Warn("a change could not be written to the database, and is tried again", "for", commitTimeout.String(), "err", err)
			told = true
		}
		if errors.Is(err, errOtherHistory) { // the tables were replaced, perhaps: whoever follows then reads everything again
			s.wake()
			_ = s.pull(ctx) // which the next attempt finds out
		}
	}
}

// passes reports whether what failed may succeed when it is tried again: not what the server refuses to do, such as a
// write into a full disk.
func passes(err error) bool {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return true
	}
	switch refused.Code[:2] {
	case "08", "57", "40": // connection; shutdown, failover and the like; deadlock
		return true
	}
	return refused.Code == "25006" // a server that became a standby
}

// rest waits for a while, and reports whether ctx has not ended.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// transact runs updates in a transaction, and commits it if they write.
func (s *Store) transact(ctx context.Context, t *transaction, updates []*group.Update) error {
	conn, err := s.writes.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release() // which ends the connection if the transaction has not ended
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if !t.committing {
			_ = tx.Rollback(ctx)
		}
	}()
	var id []byte
	// The lock comes first: whoever has it sees every revision before.
	// In a database with another history, the change may have a revision that memory has applied already.
	var found int
	var included bool
	if err := tx.QueryRow(ctx, "SELECT revision, id, bytes, format, "+includedSQL+" FROM sallyport_meta FOR UPDATE", s.history.known()...).Scan(&t.begin.revision, &id, &t.bytes, &found, &included); err != nil {
		return err
	}
	if err := demandFormat(found); err != nil {
		return err
	}
	if !included {
		return errOtherHistory
	}
	t.begin.id, t.before = string(id), t.bytes
	t.newest = t.begin
	if err := t.apply(ctx, tx, updates); err != nil || len(t.changes) == 0 {
		return err
	}
	batch := t.statements()
	t.committing = true
	forgetWarning(tx.Conn())
	if err := tx.Conn().SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	return demandDurable(tx.Conn())
}

// apply runs the function of each update. What an update that fails has written is left out. The error is one of the
// database, after which no update can be committed.
func (t *transaction) apply(ctx context.Context, tx pgx.Tx, updates []*group.Update) error {
	t.written = writes{}
	r := &reader{ctx: ctx, tx: tx}
	for _, u := range updates {
		w := &writer{reader: r, revision: max(t.newest.revision, t.base) + 1, before: t.written, own: writes{}}
		if u.Err = u.Ctx.Err(); u.Err == nil {
			u.Err = u.Fn(w)
		}
		if r.err != nil {
			return r.err
		}
		u.Revision = 0
		if u.Err != nil {
			continue
		}
		if len(w.list) > 0 {
			t.newest = mark{w.revision, string(newID())}
			t.changes = append(t.changes, store.Change{Revision: w.revision, Writes: w.list})
			maps.Copy(t.written, w.own)
		}
		u.Revision = t.newest.revision
	}
	return nil
}

// statements returns what writes the changes and commits them, in one round trip.
func (t *transaction) statements() *pgx.Batch {
	b := &pgx.Batch{}
	var keys, values, deleted [][]byte
	for _, w := range t.written {
		if w.Deleted {
			deleted = append(deleted, w.Key)
		} else {
			keys, values = append(keys, w.Key), append(values, checksum.Add(w.Key, w.Value))
		}
	}
	if len(deleted) > 0 {
		b.Queue("DELETE FROM sallyport_items WHERE key = ANY($1)", deleted)
	}
	if len(keys) > 0 {
		b.Queue("INSERT INTO sallyport_items SELECT * FROM unnest($1::bytea[], $2::bytea[]) ON CONFLICT (key) DO UPDATE SET value = excluded.value", keys, values)
	}
	for _, c := range t.changes {
		record, id := encodeWrites(c.Writes), newID()
		if c.Revision == t.newest.revision {
			id = []byte(t.newest.id)
		}
		t.bytes += int64(len(record))
		b.Queue("INSERT INTO sallyport_changes (revision, id, bytes, writes) VALUES ($1, $2, $3, $4)", number(c.Revision), id, t.bytes, record)
	}
	b.Queue("UPDATE sallyport_meta SET revision = $1, id = $2, bytes = $3", number(t.newest.revision), []byte(t.newest.id), t.bytes)
	if t.before/compactEvery != t.bytes/compactEvery { // the newest change always stays
		b.Queue("DELETE FROM sallyport_changes WHERE revision < $1 AND (bytes <= $2 OR time < now() - $3::interval)", number(t.newest.revision), t.bytes-maxBytes, maxAge)
	}
	b.Queue("SELECT pg_notify('sallyport', '')")
	b.Queue("COMMIT")
	return b
}

// findOut finds out what became of a commit whose response did not arrive. It returns nil if it is in the database, the
// error of the commit if it is not and never will be, and an error that is ErrUncertain if the database does not tell.
func findOut(ctx context.Context, failure error, find func() (bool, error)) error {
	var refused *pgconn.PgError
	if errors.As(failure, &refused) && !passes(failure) {
		return failure // the server said that it did not commit
	}
	for {
		found, err := find()
		switch {
		case err == nil && found:
			return nil
		case err == nil:
			return failure
		case !rest(ctx, pause):
			return fmt.Errorf("%w: %w", store.ErrUncertain, failure)
		}
	}
}

// find reports whether the change m was committed. It takes the lock of writers, so that a commit under way ends before,
// and commits that, so that what it found is durable.
func (s *Store) find(ctx context.Context, m mark) (found bool, err error) {
	err = s.writes.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		forgetWarning(conn.Conn())
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			found, err = hasChange(ctx, tx, m)
			return err
		})
		if err != nil {
			return err
		}
		return demandDurable(conn.Conn())
	})
	return found, err
}

// hasChange reports whether the database has the change m, once every commit under way has ended.
func hasChange(ctx context.Context, tx pgx.Tx, m mark) (found bool, err error) {
	if _, err := tx.Exec(ctx, "SELECT 1 FROM sallyport_meta FOR UPDATE"); err != nil {
		return false, err
	}
	err = tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM sallyport_changes WHERE revision = $1 AND id = $2)", number(m.revision), []byte(m.id)).Scan(&found)
	return found, err
}
