package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"sallyport/store"
)

// A Purpose says what a database is held for.
type Purpose int

const (
	ToRead    Purpose = iota // nobody changes it; others may hold it to read it too
	ToWrite                  // stores opened with [Options.Into] may change it
	ToReplace                // its records are replaced by [Hold.Replace]
)

// holdLock is the first number of the advisory lock of those who hold a database. The second is of the schema.
const holdLock = 0x53616c6c

// holdTimeout is how long one statement waits for the locks of others.
const holdTimeout = 5 * time.Second

// Hold keeps servers from using a database while it is copied or replaced: none of them can renew a lease, so that none
// decides, and with ToRead and ToReplace none can write. It is one transaction: if its connection ends, so does the hold.
type Hold struct {
	urlFile string
	conn    *pgx.Conn
	tx      pgx.Tx
	made    bool // the tables exist
}

// TakeHold holds the database that the file with the connection string names. While a replica uses it, or somebody else
// holds it, the error is ErrLocked. A database without tables can be held too.
func TakeHold(ctx context.Context, urlFile string, purpose Purpose) (*Hold, error) {
	h, err := takeHold(ctx, urlFile, purpose)
	if err != nil {
		return nil, fmt.Errorf("opening the database that %s names: %w", urlFile, err)
	}
	return h, nil
}

func takeHold(ctx context.Context, urlFile string, purpose Purpose) (*Hold, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	conn, err := connect(ctx, urlFile)
	if err != nil {
		return nil, explain(err)
	}
	h := &Hold{urlFile: urlFile, conn: conn}
	if h.tx, err = conn.Begin(ctx); err == nil {
		err = h.take(ctx, purpose)
	}
	if err != nil {
		h.Release()
		return nil, explain(err)
	}
	return h, nil
}

func (h *Hold) take(ctx context.Context, purpose Purpose) error {
	settings := fmt.Sprintf("SET LOCAL lock_timeout = %d; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0", holdTimeout.Milliseconds())
	if _, err := h.tx.Exec(ctx, settings); err != nil {
		return err
	}
	if err := h.excludeOthers(ctx, purpose); err != nil {
		return err
	}
	if err := h.tx.QueryRow(ctx, "SELECT to_regclass('sallyport_replicas') IS NOT NULL").Scan(&h.made); err != nil || !h.made {
		return err
	}
	if err := h.demandNoReplica(ctx); err != nil { // before the lock, which would keep a running one from its lease
		return err
	}
	if err := h.lock(ctx, "LOCK TABLE sallyport_replicas IN SHARE MODE", "a server uses it"); err != nil {
		return err
	}
	if err := h.demandNoReplica(ctx); err != nil {
		return err
	}
	return h.excludeWriters(ctx, purpose)
}

// excludeOthers takes the lock of those who hold the database.
func (h *Hold) excludeOthers(ctx context.Context, purpose Purpose) error {
	function := "pg_advisory_xact_lock"
	if purpose == ToRead {
		function = "pg_advisory_xact_lock_shared"
	}
	return h.lock(ctx, fmt.Sprintf("SELECT %s(%d, hashtext(coalesce(current_schema(), '')))", function, holdLock),
		"another copy or restore uses it, or what is copied and the copy are the same database")
}

func (h *Hold) excludeWriters(ctx context.Context, purpose Purpose) error {
	switch purpose {
	case ToRead:
		return h.lock(ctx, "SELECT 1 FROM sallyport_meta FOR SHARE", "somebody writes to it")
	case ToReplace:
		return h.lock(ctx, "SELECT 1 FROM sallyport_meta FOR UPDATE", "somebody writes to it")
	}
	return nil
}

// lock takes a lock that somebody else may have, which the error says then.
func (h *Hold) lock(ctx context.Context, statement, taken string) error {
	_, err := h.tx.Exec(ctx, statement)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "55P03" {
		return fmt.Errorf("%w: %s", store.ErrLocked, taken)
	}
	return err
}

// demandNoReplica returns an error that is ErrLocked if a replica has a running lease.
func (h *Hold) demandNoReplica(ctx context.Context) error {
	rows, err := h.tx.Query(ctx, "SELECT name, extract(epoch FROM renewed + lease - clock_timestamp())::float8 FROM sallyport_replicas WHERE renewed + lease >= clock_timestamp() ORDER BY name")
	if err != nil {
		return err
	}
	var names []string
	var name string
	var left, longest float64
	_, err = pgx.ForEachRow(rows, []any{&name, &left}, func() error {
		names, longest = append(names, name), max(longest, left)
		return nil
	})
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("%w: %s may decide for another %s (also if it was killed)",
			store.ErrLocked, strings.Join(names, ", "), time.Duration(longest*float64(time.Second)).Round(100*time.Millisecond))
	}
	return err
}

// Err returns an error if the database is held no more.
func (h *Hold) Err(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, holdTimeout)
	defer cancel()
	if _, err := h.tx.Exec(ctx, "SELECT 1"); err != nil {
		return fmt.Errorf("the database may have been used meanwhile, since the connection that kept others out has ended: %w", err)
	}
	return nil
}

// Release lets others use the database again.
func (h *Hold) Release() {
	ctx, cancel := context.WithTimeout(context.Background(), holdTimeout)
	defer cancel()
	_ = h.conn.Close(ctx) // which rolls the transaction back
}
