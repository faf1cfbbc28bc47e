package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"sallyport/directory"
	"sallyport/store"
)

// absence is since when a replica is not there that has something to record.
type absence struct {
	since  time.Time
	writer string // the process that was the last to write its record
}

// watchOthers records for replicas that are lost for good what they had not, until ctx ends.
func (r *recorder) watchOthers(ctx context.Context) error {
	l, ok := r.store.(living)
	if !ok {
		<-ctx.Done()
		return ctx.Err()
	}
	tick := time.NewTicker(max(r.goneAfter/20, 100*time.Millisecond))
	defer tick.Stop()
	gone := map[string]absence{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if r.record.Away() { // the other process does the same
			continue
		}
		if err := r.lookAtOthers(ctx, l, gone); err != nil && ctx.Err() == nil {
			clear(gone) // nothing is known of this time
			r.log.Debug("it cannot be found out which replicas are gone", "err", err)
		}
	}
}

// lookAtOthers notes which replicas with something to record are gone, and records for those that were gone for long.
func (r *recorder) lookAtOthers(ctx context.Context, l living, gone map[string]absence) error {
	writers := map[string]string{}
	err := r.store.View(ctx, func(reader store.Reader) error {
		names, err := directory.UnrecordedReplicas(reader)
		for _, name := range names {
			rec, err := readReplica(reader, name)
			if err != nil && !errors.Is(err, store.ErrDamaged) {
				return err
			}
			writers[name] = rec.Writer
		}
		return err
	})
	delete(writers, r.name)
	if err == nil && len(writers) == 0 {
		clear(gone)
		return nil
	}
	var names []string
	if err == nil {
		names, err = l.Living(ctx)
	}
	if err == nil {
		err = r.directory.Fresh()
	}
	if err != nil {
		return err
	}
	for name, writer := range writers {
		if slices.Contains(names, name) {
			delete(gone, name)
			continue
		}
		if before, ok := gone[name]; !ok || before.writer != writer {
			gone[name] = absence{time.Now(), writer}
		} else if time.Since(before.since) > r.goneAfter {
			if err := r.recordFor(ctx, name, writer); err != nil {
				return err
			}
			delete(gone, name)
		}
	}
	return nil
}

// recordFor takes what a lost replica had to record. If another process began to write the record of that name meanwhile, it
// takes nothing.
func (r *recorder) recordFor(ctx context.Context, name, writer string) error {
	for {
		taken, doubt := 0, false
		_, err := r.store.Update(ctx, func(w store.Writer) error {
			taken = 0
			rec, err := readReplica(w, name)
			if err != nil && !errors.Is(err, store.ErrDamaged) {
				return err
			}
			if err == nil && rec.Writer != writer {
				return nil
			}
			doubt = !rec.Closed
			taken, err = directory.TakeUnrecorded(w, name, r.name, doubt, takeAtOnce)
			return err
		})
		if err != nil || taken == 0 {
			return err
		}
		r.log.Warn("a replica is gone for good, and this one writes what it had not written into its audit record", "replica", name, "changes", taken, "may_be_twice", doubt)
	}
}
