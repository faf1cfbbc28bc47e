package postgres

import (
	"context"
	"errors"
	"fmt"

	"sallyport/store"
	"sallyport/store/internal/group"
)

// Create makes the tables in a database that has none, and makes fn's changes, in one transaction: nobody finds the tables
// without them. The first revision is greater than after.
func Create(ctx context.Context, urlFile string, after store.Revision, fn func(store.Writer) error) error {
	if err := create(ctx, urlFile, after, fn); err != nil {
		return fmt.Errorf("making tables in the database that %s names: %w", urlFile, explain(err))
	}
	return nil
}

func create(ctx context.Context, urlFile string, after store.Revision, fn func(store.Writer) error) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	conn, err := connect(ctx, urlFile)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // which rolls back what was not committed
	if err := prepareSession(ctx, conn); err != nil {
		return err
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(schemaLock)); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, tables); err != nil {
		return err
	}
	t := &transaction{base: after}
	u := &group.Update{Ctx: ctx, Fn: fn}
	if err := errors.Join(t.apply(ctx, tx, []*group.Update{u}), u.Err); err != nil {
		return err
	}
	return conn.SendBatch(ctx, t.statements()).Close()
}
