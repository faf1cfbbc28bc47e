package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"sallyport/store"
)

// format is the number of the layout of the tables that this package reads and writes.
const format = 1

// schemaLock is the number of the advisory lock under which tables are made.
const schemaLock = 0x53616c6c79706f72

// tables makes the tables. A record has its checksum in front of its value. A change has its writes in one value, and the
// bytes of all changes up to it, by which old ones are deleted. Each process has a replica of its own, whatever its name. The
// table of replicas is logged: a primary that has lost its synchronous standby must not be able to renew a lease.
const tables = `
CREATE TABLE sallyport_meta (one boolean PRIMARY KEY DEFAULT true CHECK (one), format integer NOT NULL, revision bigint NOT NULL, id bytea NOT NULL, bytes bigint NOT NULL);
CREATE TABLE sallyport_items (key bytea PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE sallyport_changes (revision bigint PRIMARY KEY, id bytea NOT NULL, time timestamptz NOT NULL DEFAULT now(), bytes bigint NOT NULL, writes bytea NOT NULL);
CREATE TABLE sallyport_replicas (process text PRIMARY KEY, name text NOT NULL, renewed timestamptz NOT NULL, lease interval NOT NULL, applied bigint NOT NULL);
ALTER TABLE sallyport_changes ALTER COLUMN writes SET STORAGE EXTERNAL;
INSERT INTO sallyport_meta (format, revision, id, bytes) VALUES (1, 0, $$begin$$, 0);
`

// current is the layout of this version.
var current = layout{format: format, tables: tables}

// layout is the tables of one version.
type layout struct {
	format     int
	tables     string         // makes the tables
	migrations map[int]string // makes the tables of a format those of the next one
}

// prepare checks the layout of the tables, makes them if there are none and init is set, and migrates older ones. Processes
// of a version that is older than the tables stop deciding and writing: each of their transactions looks at the format.
func (l layout) prepare(ctx context.Context, pool *pgxpool.Pool, init bool) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(schemaLock)); err != nil {
			return err
		}
		var exists bool
		if err := tx.QueryRow(ctx, "SELECT to_regclass('sallyport_meta') IS NOT NULL").Scan(&exists); err != nil {
			return err
		}
		switch {
		case !exists && !init:
			return fmt.Errorf("%w: the database has no table sallyport_meta; restore a backup, or make a new store with --init", store.ErrMissing)
		case !exists:
			_, err := tx.Exec(ctx, l.tables)
			return err
		}
		return l.migrate(ctx, tx)
	})
}

// migrate brings the tables to the format of the layout.
func (l layout) migrate(ctx context.Context, tx pgx.Tx) error {
	var found int
	err := tx.QueryRow(ctx, "SELECT format FROM sallyport_meta").Scan(&found)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("%w: the table sallyport_meta is empty; restore a backup", store.ErrUnsound)
	case err != nil:
		return err
	}
	for ; found < l.format && l.migrations[found] != ""; found++ {
		if _, err := tx.Exec(ctx, l.migrations[found]); err != nil {
			return fmt.Errorf("migrating the tables from format %d: %w", found, err)
		}
		if _, err := tx.Exec(ctx, "UPDATE sallyport_meta SET format = $1", found+1); err != nil {
			return err
		}
	}
	return l.demand(found)
}

// demandFormat demands that this version can use a database of the format.
func demandFormat(found int) error { return current.demand(found) }

func (l layout) demand(found int) error {
	switch {
	case found > l.format:
		return fmt.Errorf("%w: its format is %d and this version reads %d; use the version that wrote it, or restore a backup into another database", store.ErrNewer, found, l.format)
	case found < l.format:
		return fmt.Errorf("%w: its format is %d, which no version has written", store.ErrUnsound, found)
	}
	return nil
}

// newest returns the newest change.
func (s *Store) newest(ctx context.Context) (mark, error) { return readMeta(ctx, s.reads) }

// newID returns the id of a change.
func newID() []byte {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	return id
}

// number returns a revision as PostgreSQL has it.
func number(r store.Revision) int64 { return int64(r) } //nolint:gosec // there are never so many
