package directory

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"
	"sync"

	"sallyport/store"
)

// NameReplica says that this process is one of several replicas that use the store. Each records the changes that it made,
// and no others. Call it before the first change.
func (d *Directory) NameReplica(name string) {
	d.pending.replica = name
	d.RecordAgain()
}

// RecordAgain has [Directory.Unrecorded] yield everything again that this replica has to record.
func (d *Directory) RecordAgain() { d.pending.wake(0) }

// Replica returns the name of this replica; "" if this process alone uses the store.
func (d *Directory) Replica() string { return d.pending.replica }

// pending tells when this replica has something to record.
type pending struct {
	replica string
	woken   chan struct{} // has a value if there may be records from the revision from on

	mu   sync.Mutex // guards the field below
	from uint64     // math.MaxUint64 if there are none
}

// note wakes whoever records if a change has records of this replica.
func (p *pending) note(change store.Change) {
	if p.replica == "" {
		return
	}
	for _, w := range change.Writes {
		if replica, revision, ok := unrecordedOf(w.Key); ok && !w.Deleted && replica == p.replica {
			p.wake(revision)
		}
	}
}

func (p *pending) wake(from uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.from = min(p.from, from)
	select {
	case p.woken <- struct{}{}:
	default: // it was not taken yet
	}
}

// take returns from which revision there may be records. It waits until there are some.
func (p *pending) take(ctx context.Context) (from uint64, err error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-p.woken:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	from, p.from = p.from, math.MaxUint64
	return from, nil
}

// newest is the last record of a change that any replica made.
type newest struct {
	Revision uint64 `json:"revision"`
	Replica  string `json:"replica"`
}

// follow says which record comes before that of revision, and that this is the newest now.
func (rec *Record) follow(w store.Writer, revision uint64) error {
	var last newest
	value, err := w.Get([]byte(newestKey))
	if err == nil {
		err = json.Unmarshal(value, &last)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDamaged) {
		return fmt.Errorf("reading which change was recorded last: %w", err)
	}
	if rec.Former, rec.FormerReplica = last.Revision, last.Replica; last.Revision == revision { // a second record of the change
		rec.Former, rec.FormerReplica = 0, ""
	}
	value, err = json.Marshal(newest{revision, rec.Replica})
	if err != nil {
		return err
	}
	return w.Put([]byte(newestKey), value)
}

func unrecordedPrefix(replica string) []byte { return []byte(unrecordedKeys + replica + "/") }

func unrecordedKey(replica string, revision uint64) []byte {
	return binary.BigEndian.AppendUint64(unrecordedPrefix(replica), revision)
}

// unrecordedOf reads the replica and the revision from a key.
func unrecordedOf(key []byte) (replica string, revision uint64, ok bool) {
	rest, ok := bytes.CutPrefix(key, []byte(unrecordedKeys))
	if !ok || len(rest) < 10 || rest[len(rest)-9] != '/' {
		return "", 0, false
	}
	replica = string(rest[:len(rest)-9])
	return replica, binary.BigEndian.Uint64(rest[len(rest)-8:]), !strings.Contains(replica, "/")
}

func decodeUnrecorded(e store.Entry) (rec Record, replica string, err error) {
	replica, revision, ok := unrecordedOf(e.Key)
	if !ok {
		return rec, "", errRecord
	}
	if err := json.Unmarshal(e.Value, &rec); err != nil {
		return rec, "", err
	}
	rec.Revision = revision
	return rec, replica, nil
}

// Unrecorded yields what this replica has to write into its audit record, and waits for more until ctx ends. It yields a
// record again until [DeleteUnrecorded] was called for it, and not always in the order of revisions: what a lost replica had
// to record comes later.
func (d *Directory) Unrecorded(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for {
			from, err := d.pending.take(ctx)
			if err != nil {
				return
			}
			for {
				var batch []Record
				err := store.UntilReachable(ctx, func() (err error) {
					batch, err = ReadUnrecorded(ctx, d.store, d.pending.replica, from, recordBatch)
					return err
				})
				if err != nil {
					yield(Record{}, err)
					return
				}
				for _, rec := range batch {
					if !yield(rec, nil) {
						return
					}
				}
				if len(batch) < recordBatch {
					break
				}
				from = batch[len(batch)-1].Revision + 1
			}
		}
	}
}

// ReadUnrecorded returns what a replica has to record of the revisions from one on, so many records at most.
func ReadUnrecorded(ctx context.Context, st store.Store, replica string, from uint64, limit int) (batch []Record, err error) {
	err = st.View(ctx, func(r store.Reader) (err error) {
		batch, err = readUnrecorded(r, replica, from, limit)
		return err
	})
	return batch, err
}

// ReadAllUnrecorded returns all that a replica has to record; it is not nil.
func ReadAllUnrecorded(r store.Reader, replica string) ([]Record, error) {
	all, err := readUnrecorded(r, replica, 0, math.MaxInt)
	return append([]Record{}, all...), err
}

func readUnrecorded(r store.Reader, replica string, from uint64, limit int) (batch []Record, err error) {
	for e, err := range r.Scan(unrecordedPrefix(replica), unrecordedKey(replica, from)) {
		if err != nil {
			return nil, err
		}
		rec, _, err := decodeUnrecorded(e)
		if err != nil {
			return nil, err
		}
		if batch = append(batch, rec); len(batch) == limit {
			break
		}
	}
	return batch, nil
}

// DeleteUnrecorded says that a replica has written what it had to record of some revisions.
func DeleteUnrecorded(w store.Writer, replica string, revisions []uint64) error {
	for _, revision := range revisions {
		if err := w.Delete(unrecordedKey(replica, revision)); err != nil {
			return err
		}
	}
	return nil
}

// UnrecordedReplicas returns the replicas that have something to record.
func UnrecordedReplicas(r store.Reader) (names []string, err error) {
	for from := []byte(nil); ; {
		name := ""
		for e, err := range r.Scan([]byte(unrecordedKeys), from) {
			if err != nil && !errors.Is(err, store.ErrDamaged) {
				return nil, err
			}
			name, _, _ = unrecordedOf(e.Key)
			break
		}
		if name == "" {
			return names, nil
		}
		names, from = append(names, name), []byte(unrecordedKeys+name+"0") // '0' follows '/'
	}
}

// TakeUnrecorded gives what the replica from, which is lost, had to record to the replica to: so many records at most. It
// returns how many. doubt says that from may have recorded them.
func TakeUnrecorded(w store.Writer, from, to string, doubt bool, limit int) (taken int, err error) {
	records, err := readUnrecorded(w, from, 0, limit)
	if err != nil {
		return 0, err
	}
	for _, rec := range records {
		revision := rec.Revision
		if rec.For == "" {
			rec.For = from
		}
		rec.Doubt = rec.Doubt || doubt
		value, err := json.Marshal(rec)
		if err != nil {
			return 0, err
		}
		if err := errors.Join(w.Delete(unrecordedKey(from, revision)), w.Put(unrecordedKey(to, revision), value)); err != nil {
			return 0, err
		}
	}
	return len(records), nil
}
