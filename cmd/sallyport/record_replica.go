package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"sallyport/audit"
	"sallyport/config"
	"sallyport/store"
)

// replicaRecords is the prefix of what the store has of the audit record of each replica.
const replicaRecords = "audit/replica/"

// replicaRecord is what the store has of the audit record of a replica.
type replicaRecord struct {
	Writer string     `json:"writer"` // the process that writes it: a random id
	Host   string     `json:"host"`   // where that runs
	Began  time.Time  `json:"began"`  // when that process began
	Marked time.Time  `json:"marked"` // when the mark was stored
	Mark   audit.Mark `json:"mark"`   // where the record ended then
	Closed bool       `json:"closed"` // the process stopped, and wrote nothing after the mark
}

// errNameTaken means that another process has begun to write the record of a replica.
var errNameTaken = errors.New("another process has the name of this replica")

func replicaKey(name string) []byte { return []byte(replicaRecords + name) }

// readReplica returns what the store has of the record of a replica; the zero value if it has nothing that can be read.
func readReplica(r store.Reader, name string) (rec replicaRecord, err error) {
	text, err := r.Get(replicaKey(name))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return rec, nil
	case err != nil:
		return rec, fmt.Errorf("reading where the audit record of %s ended: %w", name, err)
	}
	return rec, json.Unmarshal(text, &rec)
}

func putReplica(w store.Writer, name string, rec replicaRecord) error {
	text, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return w.Put(replicaKey(name), text)
}

// recordName returns the name of the replica whose record this process writes; "" if it alone uses its store.
func recordName(s config.Store) (string, error) {
	if s.Postgres == nil {
		return "", nil
	}
	return replicaName(s.Postgres)
}

// living is a store that knows which replicas run.
type living interface {
	Living(ctx context.Context) ([]string, error)
}

// claimRecord makes this process the one that writes the record of a replica, and returns what the store had of it before.
// The name must not be that of a server that runs on another host. also is called in the same transaction.
func claimRecord(ctx context.Context, st store.Store, name string, also ...func(store.Reader) error) (writer string, before replicaRecord, err error) {
	host, err := os.Hostname()
	if err != nil {
		return "", before, err
	}
	running := false
	if l, ok := st.(living); ok {
		names, err := l.Living(ctx)
		if err != nil {
			return "", before, err
		}
		running = slices.Contains(names, name)
	}
	writer = rand.Text()
	_, err = st.Update(ctx, func(w store.Writer) (err error) {
		before, err = readReplica(w, name)
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		if running && !before.Closed && before.Host != "" && before.Host != host {
			return fmt.Errorf("a server on %s has the name %s and runs; give each replica a name of its own (store.postgres.replica)", before.Host, name)
		}
		claimed := before
		claimed.Writer, claimed.Host, claimed.Began, claimed.Closed = writer, host, time.Now().UTC(), false
		if err := putReplica(w, name, claimed); err != nil {
			return err
		}
		for _, read := range also {
			if err := read(w); err != nil {
				return err
			}
		}
		return nil
	})
	return writer, before, err
}

// disclaimRecord gives the record of a replica back to the process that wrote it before, which may run: writer has written
// nothing.
func disclaimRecord(ctx context.Context, st store.Store, name, writer string, before replicaRecord) error {
	_, err := st.Update(ctx, func(w store.Writer) error {
		rec, err := readReplica(w, name)
		if err != nil || rec.Writer != writer {
			return err
		}
		return putReplica(w, name, before)
	})
	return err
}

// updateReplica changes what the store has of the record of a replica, if writer writes it still, or does again.
func updateReplica(w store.Writer, name, writer string, again bool, change func(*replicaRecord)) error {
	rec, err := readReplica(w, name)
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		return err
	}
	if err == nil && rec.Writer != "" && rec.Writer != writer && !again { // a store that was restored names none
		return fmt.Errorf("%w: %s, on %s since %s; give each replica a name of its own (store.postgres.replica)", errNameTaken, name, rec.Host, rec.Began.Format(time.RFC3339))
	}
	rec.Writer = writer
	change(&rec)
	return putReplica(w, name, rec)
}

// replicaMarks returns where the records of all replicas ended.
func replicaMarks(r store.Reader) (marks map[string]audit.Mark, err error) {
	marks = map[string]audit.Mark{}
	for e, err := range r.Scan([]byte(replicaRecords), nil) {
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return nil, err
		}
		var rec replicaRecord
		if err == nil && json.Unmarshal(e.Value, &rec) == nil && rec.Mark.Line > 0 {
			marks[string(e.Key[len(replicaRecords):])] = rec.Mark
		}
	}
	return marks, nil
}
