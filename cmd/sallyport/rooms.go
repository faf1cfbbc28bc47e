package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"sallyport/audit"
	"sallyport/config"
	"sallyport/directory"
	"sallyport/scim"
	"sallyport/session"
	"sallyport/store"
	"sallyport/store/bolt"
)

// rooms are the durable parts, wired from the ground up: the store, what is
// read from it into memory, and the audit record.
type rooms struct {
	store     *bolt.Store
	directory *directory.Directory
	scim      *scim.Provisioning
	sessions  *session.Sessions
	record    *audit.Log
	log       *slog.Logger
}

// openRooms opens everything that lives on disk. init allows a missing store
// to be made.
func openRooms(ctx context.Context, file *config.File, init bool, log *slog.Logger) (*rooms, error) {
	st, err := bolt.Open(file.Store.Bolt.Path, bolt.Options{Init: init})
	if errors.Is(err, store.ErrMissing) {
		return nil, fmt.Errorf("%w; a first start is `sallyport serve --init`", err)
	}
	if err != nil {
		return nil, err
	}
	r := &rooms{store: st, log: log}
	if err := r.open(ctx, file); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// open reads users and sessions side by side: that is most of what a start takes.
func (r *rooms) open(ctx context.Context, file *config.File) error {
	g, reading := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		if r.directory, err = directory.Open(reading, r.store, file.OIDC.UserAttribute); err != nil {
			return fmt.Errorf("loading the directory: %w", err)
		}
		return nil
	})
	g.Go(func() (err error) {
		if r.sessions, err = session.Open(reading, r.store, file.Session); err != nil {
			return fmt.Errorf("loading the sessions: %w", err)
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	var err error
	if r.scim, err = scim.Open(ctx, r.store, r.directory); err != nil {
		return err
	}
	if r.record, err = audit.Open(file.Audit.File); err != nil {
		return fmt.Errorf("opening the audit record: %w", err)
	}
	return r.checkLineage(ctx, file)
}

// checkLineage refuses a store that does not have the newest change that the
// audit record tells of: changes made from here on would seem to be recorded.
func (r *rooms) checkLineage(ctx context.Context, file *config.File) error {
	known := r.record.LastRevision()
	if known == 0 {
		return nil
	}
	return r.directory.View(ctx, func(tx *directory.Tx) error {
		has, err := tx.HasRecordFrom(known)
		if err != nil || has {
			return err
		}
		return fmt.Errorf("the store %s is older than the audit record %s, which tells of a change (revision %d) that the store does not have; "+
			"if it was restored from a backup on purpose, move the audit record to where it is kept, and a new one begins",
			file.Store.Bolt.Path, file.Audit.File, known)
	})
}

// run keeps memory and disk in step until ctx ends.
func (r *rooms) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.directory.Run(ctx) })
	g.Go(func() error { return r.scim.Run(ctx) })
	g.Go(func() error { return r.sessions.Run(ctx) })
	g.Go(func() error { return r.record.Run(ctx) })
	g.Go(func() error { return r.recordPushes(ctx) })
	return g.Wait()
}

// recordPushes copies the records of SCIM changes, committed with the changes
// themselves, into the audit record. After a crash it goes on where that ends.
func (r *rooms) recordPushes(ctx context.Context) error {
	for rec, err := range r.directory.Records(ctx, r.record.LastRevision()) {
		if err != nil {
			return err
		}
		if err := r.record.Append(rec.Event, rec.Revision); err != nil {
			r.log.Error("a directory change is not in the audit record", "rev", rec.Revision, "err", err)
			return fmt.Errorf("recording a directory change: %w", err)
		}
	}
	return ctx.Err()
}

// during runs the rooms for as long as f takes, then closes them.
func (r *rooms) during(ctx context.Context, f func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return ignoreCancelled(r.run(ctx)) })
	g.Go(func() error { defer stop(); return f(ctx) })
	return errors.Join(g.Wait(), r.close())
}

func ignoreCancelled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// control answers operators from these rooms; a running server adds its own part.
func (r *rooms) control() *control {
	return &control{store: r.store, directory: r.directory, scim: r.scim, sessions: r.sessions, record: r.record, log: r.log}
}

func (r *rooms) close() error {
	var errs []error
	if r.record != nil {
		errs = append(errs, r.record.Close())
	}
	return errors.Join(append(errs, r.store.Close())...)
}
