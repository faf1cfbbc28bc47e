package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/store"
)

// errNotOurs means that another process writes the record, or is about to.
var errNotOurs = errors.New("the record is in the hands of another process")

// recorder writes the changes of the directory that a replica made into its audit record, each once.
//
// What must hold: the store has what a replica has yet to write, committed with the change itself. It is deleted in the one
// transaction that also keeps a mark behind the line: after a crash, what was written is what the record has after the mark.
type recorder struct {
	name      string // of the replica
	known     bool   // an earlier process of the name wrote a record
	writer    string // this process, as the store knows it
	store     store.Store
	directory *directory.Directory
	record    *audit.Log
	goneAfter time.Duration // how long a replica must be gone before another records for it
	log       *slog.Logger

	turn chan struct{} // has a value while a mark is kept, and while that must not be, since the record changes hands

	left    []directory.Record // what claim has read; nil: begin reads it
	missing uint64             // it is not known that the record is the former one, which may have anything up to this revision

	mu      sync.Mutex        // guards the fields below; held while one line is written
	written map[uint64]uint64 // the numbers of the lines of revisions that the store still has
	taken   error             // another process has the name
	again   bool              // this process writes the record again, which it had handed over
}

const (
	keepEvery   = time.Second // how often the store forgets what was written
	takeAtOnce  = 1000        // records of a lost replica in one transaction
	lastRecords = 2 * time.Second
	awayEvery   = 200 * time.Millisecond // how often it is looked whether the record is in other hands still
	maxLeft     = 10_000                 // records that are written before the end
	goneLeases  = 10                     // a replica is lost for good after so many leases
)

// run records until ctx ends, and then what is left. Call begin before.
func (r *recorder) run(ctx context.Context) error {
	g, running := errgroup.WithContext(ctx)
	g.Go(func() error { return r.recordAll(running) })
	g.Go(func() error { return r.forgetWritten(running) })
	g.Go(func() error { return r.watchOthers(running) })
	err := g.Wait()
	if ctx.Err() != nil {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastRecords)
		defer cancel()
		_ = r.recordLeft(last, maxLeft) // whatever stays is written at the next start, or by another replica
	}
	return err
}

// claim makes this process the one that writes the record of the replica: see [claimRecord]. If it succeeds another process of
// the name, requests wait meanwhile: what there is to record is read in the same transaction.
func (r *recorder) claim(ctx context.Context, former *former) (writer string, before replicaRecord, err error) {
	if former == nil {
		return claimRecord(ctx, r.store, r.name)
	}
	notLiving := struct{ store.Store }{r.store} // it is not asked who lives: this process and the former one have the name
	return claimRecord(ctx, notLiving, r.name, func(reader store.Reader) (err error) {
		r.left, err = directory.ReadAllUnrecorded(reader, r.name)
		return err
	})
}

// begin finds out what the record has of what the store has to record: whatever the store still has of it is deleted with
// the next mark.
func (r *recorder) begin(ctx context.Context) error {
	changes := r.record.Changes()
	left, err := r.left, error(nil)
	if r.left == nil {
		left, err = directory.ReadUnrecorded(ctx, r.store, r.name, 0, math.MaxInt)
	}
	if err != nil {
		return err
	}
	r.left = nil
	r.mu.Lock()
	for _, rec := range left {
		if changes[rec.Revision] {
			r.written[rec.Revision] = 0 // a line before every mark of this process
		}
	}
	r.mu.Unlock()
	if !r.known || r.record.Marked() {
		return nil
	}
	return r.store.View(ctx, func(reader store.Reader) error {
		r.missing = uint64(reader.Revision())
		return nil
	})
}

// recordAll writes what there is to record, until ctx ends.
func (r *recorder) recordAll(ctx context.Context) error {
	for rec, err := range r.directory.Unrecorded(ctx) {
		if err != nil {
			return err
		}
		if r.has(rec.Revision) || !r.current(ctx) {
			continue
		}
		if r.record.Away() {
			if err := r.awaitRecord(ctx); err != nil {
				return err
			}
			continue
		}
		if err := r.write(ctx, rec); err != nil {
			return fmt.Errorf("recording a directory change: %w", err)
		}
	}
	return ctx.Err()
}

// awaitRecord waits while another process writes the record, after a hand-over: that one records what this one commits, too,
// since both have one name.
func (r *recorder) awaitRecord(ctx context.Context) error {
	tick := time.NewTicker(awayEvery)
	defer tick.Stop()
	for r.record.Away() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	r.directory.RecordAgain()
	return nil
}

// recordLeft writes what the store has for this replica now, so many records at most.
func (r *recorder) recordLeft(ctx context.Context, limit int) error {
	if r.record.Away() { // the other process does
		return nil
	}
	left, err := directory.ReadUnrecorded(ctx, r.store, r.name, 0, limit)
	for _, rec := range left {
		if !r.has(rec.Revision) && err == nil {
			err = r.append(rec)
		}
	}
	return err
}

// has reports whether the record has a change.
func (r *recorder) has(revision uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.written[revision]
	return ok
}

// current reports whether this replica may record what was read. After a time in which it was not sure that it is current,
// another one may have it to record: it is read again.
func (r *recorder) current(ctx context.Context) bool {
	changed := r.directory.Changed()
	if r.directory.Fresh() == nil {
		return true
	}
	defer r.directory.RecordAgain()
	for r.directory.Fresh() != nil {
		select {
		case <-ctx.Done():
			return false
		case <-changed:
			changed = r.directory.Changed()
		}
	}
	return false
}

// write records one change. While the audit record cannot be written it waits.
func (r *recorder) write(ctx context.Context, rec directory.Record) error {
	return onceWritable(ctx, r.record, r.log, rec.Revision, func() error { return r.append(rec) })
}

func (r *recorder) append(rec directory.Record) error {
	e, err := r.event(rec)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken != nil {
		return r.taken
	}
	line, err := r.record.AppendChange(e)
	switch {
	case err == nil:
		r.written[rec.Revision] = line
	case r.record.Away(): // since a moment ago
		r.directory.RecordAgain()
		return nil
	}
	return err
}

// event returns the event of a change, with what verification needs to find that one is missing.
func (r *recorder) event(rec directory.Record) (e audit.Event, err error) {
	if err := json.Unmarshal(rec.Event, &e); err != nil {
		return e, fmt.Errorf("reading the event of revision %d: %w", rec.Revision, err)
	}
	e.Revision = rec.Revision
	if e.Detail == nil {
		e.Detail = map[string]string{}
	}
	if rec.Former > 0 {
		e.Detail[audit.DetailFormer], e.Detail[audit.DetailFormerReplica] = strconv.FormatUint(rec.Former, 10), rec.FormerReplica
	}
	if rec.For != "" {
		e.Detail[audit.DetailRecordedFor] = rec.For
	}
	switch {
	case rec.Doubt:
		e.Detail[audit.DetailDoubt] = "the record of " + rec.For + " may have it too"
	case rec.Revision <= r.missing:
		e.Detail[audit.DetailDoubt] = "a former file of this record, which was not there at the start, may have it too"
	}
	return e, nil
}

// forgetWritten has the store forget, every second, what is on the disk.
func (r *recorder) forgetWritten(ctx context.Context) error {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	stored := false // by this process
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if r.record.Away() {
			continue
		}
		mark := r.record.Mark()
		if mark.Line > 0 && !stored || len(r.upTo(mark)) > 0 {
			stored = r.keep(mark) == nil // otherwise it is tried again
		}
		r.mu.Lock()
		err := r.taken
		r.mu.Unlock()
		if err != nil {
			return fmt.Errorf("%w; give each replica a name of its own (store.postgres.replica)", err)
		}
	}
}

// upTo returns the revisions in the lines up to a mark that the store still has.
func (r *recorder) upTo(mark audit.Mark) (revisions []uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for revision, line := range r.written {
		if line <= mark.Line {
			revisions = append(revisions, revision)
		}
	}
	return revisions
}

// keep keeps a mark, and has the store forget the changes in the lines up to it, in one transaction.
func (r *recorder) keep(mark audit.Mark) error { return r.keepAs(mark, false) }

func (r *recorder) keepAs(mark audit.Mark, closed bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), markDeadline)
	defer cancel()
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.record.Away() {
		return errNotOurs
	}
	revisions := r.upTo(mark)
	r.mu.Lock()
	r.again = r.again || r.record.Retaken()
	again := r.again
	r.mu.Unlock()
	_, err := r.store.Update(ctx, func(w store.Writer) error {
		err := updateReplica(w, r.name, r.writer, again, func(rec *replicaRecord) {
			rec.Mark, rec.Marked, rec.Closed = mark, time.Now().UTC(), closed
		})
		return errors.Join(err, directory.DeleteUnrecorded(w, r.name, revisions))
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case errors.Is(err, errNameTaken):
		r.taken = err
		r.log.Error("this server no longer writes the audit record of its name", "err", err)
	case err != nil:
		r.log.Warn("the end of the audit record could not be stored; it is tried again", "err", err)
	default:
		r.again = false
		for _, revision := range revisions {
			delete(r.written, revision)
		}
	}
	return err
}

// reclaim says that this process writes the record again, which another one may have begun to write. If that cannot be stored
// now, it is with the next mark.
func (r *recorder) reclaim() {
	if r == nil {
		return
	}
	if mark := r.record.Mark(); mark.Line > 0 {
		_ = r.keep(mark)
	}
}

// close says that this process has closed the record, and writes nothing after its end.
func (r *recorder) close() error {
	if r.record.Away() {
		return nil
	}
	if mark := r.record.Mark(); mark.Line > 0 {
		return r.keepAs(mark, true)
	}
	return nil
}
