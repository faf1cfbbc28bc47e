package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"sallyport/store"
	"sallyport/store/internal/checksum"
)

// replaceTimeout is how long the end of a replacement may take to find out whether it was committed.
const replaceTimeout = 30 * time.Second

// Newest returns the newest revision that the database has used; 0 without tables.
func (h *Hold) Newest(ctx context.Context) (revision store.Revision, err error) {
	if !h.made {
		return 0, nil
	}
	var n int64
	err = h.tx.QueryRow(ctx, "SELECT greatest((SELECT max(revision) FROM sallyport_meta), (SELECT max(revision) FROM sallyport_changes), 0)").Scan(&n)
	return store.Revision(n), err //nolint:gosec // it is not negative
}

// Replace puts the records that from reads in the place of those of the database, and ends the hold. That is one
// transaction: the database has the former records or the new ones. The former ones stay in a schema of that name,
// whose tables are a store; "" leaves nothing, since there is none.
//
// The database is then at the revision of from, which must be greater than Newest by 2 or more: whoever knows a revision
// before reads everything again, since there is none that comes next.
func (h *Hold) Replace(ctx context.Context, from store.Reader, schema string) (former string, err error) {
	newest, err := h.Newest(ctx)
	if err != nil {
		return "", err
	}
	if from.Revision() < newest+2 {
		return "", fmt.Errorf("the database is at revision %d, and what is to replace it at %d: it must be greater by 2", newest, from.Revision())
	}
	if h.made {
		former = schema
		err = h.keep(ctx, schema)
	} else {
		_, err = h.tx.Exec(ctx, tables)
	}
	if err != nil {
		return "", explain(err)
	}
	id := newID()
	if err := h.fill(ctx, from, id); err != nil {
		return "", err
	}
	return former, h.commit(ctx, mark{from.Revision(), string(id)})
}

// keep copies the tables to a new schema, and empties them. They stay the same tables, so that others keep their rights.
func (h *Hold) keep(ctx context.Context, schema string) error {
	name := pgx.Identifier{schema}.Sanitize()
	if _, err := h.tx.Exec(ctx, "CREATE SCHEMA "+name); err != nil {
		var refused *pgconn.PgError
		if errors.As(err, &refused) && refused.Code == "42501" {
			return fmt.Errorf("what is replaced stays in a schema, which this user of the database may not make (%s); let it with GRANT CREATE ON DATABASE, or name the owner of the database in the connection URL", refused.Message)
		}
		return err
	}
	for _, table := range []string{"sallyport_meta", "sallyport_items", "sallyport_changes", "sallyport_replicas"} {
		if _, err := h.tx.Exec(ctx, fmt.Sprintf("CREATE TABLE %s.%s (LIKE %[2]s INCLUDING ALL)", name, table)); err != nil {
			return err
		}
	}
	_, err := h.tx.Exec(ctx, fmt.Sprintf(`INSERT INTO %s.sallyport_meta TABLE sallyport_meta; INSERT INTO %[1]s.sallyport_items TABLE sallyport_items;
DELETE FROM sallyport_meta; DELETE FROM sallyport_items; DELETE FROM sallyport_changes; INSERT INTO sallyport_meta (format, revision, id, bytes) VALUES (%d, 0, '', 0)`, name, format))
	return err
}

// fill writes records into empty tables, and a change without writes by which those who follow see that there is another.
func (h *Hold) fill(ctx context.Context, from store.Reader, id []byte) error {
	rows := newRecords(from)
	defer rows.stop()
	if _, err := h.tx.CopyFrom(ctx, pgx.Identifier{"sallyport_items"}, []string{"key", "value"}, rows); err != nil {
		return err
	}
	change := encodeWrites(nil)
	for _, statement := range []struct {
		text string
		args []any
	}{
		{"UPDATE sallyport_meta SET revision = $1, id = $2, bytes = $3", []any{number(from.Revision()), id, len(change)}},
		{"INSERT INTO sallyport_changes (revision, id, bytes, writes) VALUES ($1, $2, $3, $4)", []any{number(from.Revision()), id, len(change), change}},
		{"SELECT pg_notify('sallyport', '')", nil},
	} {
		if _, err := h.tx.Exec(ctx, statement.text, statement.args...); err != nil {
			return err
		}
	}
	return nil
}

// records are those of a store as COPY takes them. It implements [pgx.CopyFromSource].
type records struct {
	next  func() (store.Entry, error, bool)
	stop  func()
	entry store.Entry
	err   error
}

func newRecords(from store.Reader) *records {
	r := &records{}
	r.next, r.stop = iter.Pull2(from.Scan(nil, nil))
	return r
}

// Next implements [pgx.CopyFromSource].
func (r *records) Next() (ok bool) {
	r.entry, r.err, ok = r.next()
	if ok && r.err == nil && len(r.entry.Key) > store.MaxKey {
		r.err = fmt.Errorf("a key of %d bytes is too long: at most %d can be stored", len(r.entry.Key), store.MaxKey)
	}
	return ok && r.err == nil
}

// Values implements [pgx.CopyFromSource].
func (r *records) Values() ([]any, error) {
	return []any{notNil(r.entry.Key), checksum.Add(r.entry.Key, r.entry.Value)}, nil
}

// Err implements [pgx.CopyFromSource].
func (r *records) Err() error { return r.err }

// commit ends the transaction. If its response does not arrive, it asks the database what became of it.
func (h *Hold) commit(ctx context.Context, m mark) error {
	failure := h.tx.Commit(ctx)
	h.Release()
	if failure == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), replaceTimeout)
	defer cancel()
	return findOut(ctx, failure, func() (bool, error) { return h.find(ctx, m) })
}

// find reports whether the change m was committed, with the lock of writers, so that a commit under way ends before.
func (h *Hold) find(ctx context.Context, m mark) (found bool, err error) {
	conn, err := connect(ctx, h.urlFile)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "SELECT to_regclass('sallyport_changes') IS NOT NULL").Scan(&found); err != nil || !found {
			return err
		}
		found, err = hasChange(ctx, tx, m)
		return err
	})
	return found, err
}
