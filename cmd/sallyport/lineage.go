package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"sallyport/audit"
	"sallyport/config"
	"sallyport/directory"
	"sallyport/store"
	"sallyport/store/bolt"
)

// copyKey is in every copy that earlier versions of `backup` made, which were stores of their own, and in no store that was
// served from: damage never turns the one into the other.
const copyKey = "backup/made"

// copyMark is what is stored at copyKey.
type copyMark struct {
	Made time.Time `json:"made"` // when making the copy began: it has every change before; zero if that is not known
}

// openFile opens the store in a file. A store that lacks acknowledged changes is refused, unless somebody put a copy of
// `backup` in its place; such a copy the audit record may still refuse.
func openFile(path string, options bolt.Options) (engine, error) {
	st, err := bolt.Open(path, options)
	if !errors.Is(err, store.ErrBehind) {
		return asEngine(st, err)
	}
	options.Behind = true
	behind, failed := bolt.Open(path, options)
	if failed != nil {
		return nil, err
	}
	if marked, failed := hasKey(behind, copyKey); failed == nil && marked {
		return behind, nil
	}
	return nil, errors.Join(err, behind.Close())
}

func hasKey(st store.Store, key string) (ok bool, err error) {
	err = st.View(context.Background(), func(r store.Reader) error {
		switch _, err := r.Get([]byte(key)); {
		case errors.Is(err, store.ErrNotFound):
			return nil
		case err != nil:
			return err
		}
		ok = true
		return nil
	})
	return ok, err
}

// The reasons of events of the kind store.
const (
	reasonRestored     = "restored"
	reasonLossAccepted = "loss_accepted"
)

// resumeStore goes on with a store that is older than what was made from it, after every revision that was acknowledged
// or recorded. Sessions may have ended since, so all of them end. That is committed with its record, and recorded.
func resumeStore(ctx context.Context, st engine, record *audit.Log, actor audit.Actor, reason string) error {
	made, err := copyMade(ctx, st)
	if err != nil {
		return err
	}
	recorded := record.LastRevision()
	r := resumption{made: made, event: audit.Event{Kind: audit.KindStore, Actor: actor, Reason: reason, Detail: map[string]string{"recorded": strconv.FormatUint(recorded, 10)}}}
	st.Continue(store.Revision(recorded))
	event, revision, err := r.commit(ctx, st)
	if err != nil {
		return err
	}
	return record.Append(event, uint64(revision))
}

// resumption is how an older store goes on.
type resumption struct {
	made  time.Time   // until when the store has every change; zero: it is not known
	event audit.Event // without time and revision
}

// commit makes the first revision of the store that goes on. It returns its event, for the audit record.
func (n resumption) commit(ctx context.Context, st store.Store) (event []byte, revision store.Revision, err error) {
	now := time.Now().UTC()
	revision, err = st.Update(ctx, func(w store.Writer) (err error) {
		n.event.Time, n.event.Revision = now, uint64(w.Revision())
		if event, err = json.Marshal(n.event); err != nil {
			return err
		}
		return errors.Join(clearCopy(w, now), w.Delete([]byte(copyKey)), directory.PutBreak(w, now, n.made), directory.PutRecord(w, directory.Record{Received: now, Event: event}))
	})
	if err != nil {
		return nil, 0, fmt.Errorf("going on with an older store: %w", err)
	}
	return event, revision, nil
}

// copyMade returns when the copy was made that st is, at the latest; the zero time if st is none, or that is not known.
func copyMade(ctx context.Context, st store.Store) (made time.Time, err error) {
	err = st.View(ctx, func(r store.Reader) error {
		var mark copyMark
		text, err := r.Get([]byte(copyKey))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err == nil {
			err = json.Unmarshal(text, &mark)
		}
		made = mark.Made
		return err
	})
	return made, err
}

// resumeCopy goes on with the store if it is a copy that somebody put in its place.
func (c *components) resumeCopy(ctx context.Context) error {
	marked, err := hasKey(c.store, copyKey)
	if err != nil || !marked {
		return err
	}
	c.log.Warn("the store is a restored copy; everybody has to sign in again, and changes that were pushed since it was made are missing")
	return resumeStore(ctx, c.store, c.record, audit.Actor{Kind: audit.ActorSystem, Name: "copy in the place of the store"}, reasonRestored)
}

// checkRecorded returns an error that is ErrBehind if the store lacks the newest change that the audit record contains.
// The record would already hold the revisions that new changes get, and the new changes would not be recorded.
func checkRecorded(ctx context.Context, st store.Store, record *audit.Log, file *config.File) error {
	recorded := record.LastRevision()
	if recorded == 0 {
		return nil
	}
	return st.View(ctx, func(r store.Reader) error {
		ok, err := directory.HasRecordFrom(r, recorded)
		if err != nil || ok {
			return err
		}
		return fmt.Errorf("%w: the store %s is older than the audit record %s: the record contains a change (revision %d) that the store does not have; "+
			"restore a backup with `sallyport restore FILE`, which makes the record go on, or accept the loss with `sallyport store accept-loss`",
			store.ErrBehind, file.Store, file.Audit.File, recorded)
	})
}
