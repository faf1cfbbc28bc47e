package directory

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"sallyport/store"
)

// keptRecords is how many records of changes are kept.
const keptRecords = 10_000

// Record keeps rec with the change being made, under its revision, and drops
// the oldest beyond the kept number.
func (tx *Tx) Record(rec Record) error {
	value, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encoding the record of a change: %w", err)
	}
	if err := tx.w.Put(recordKey(tx.Revision()), value); err != nil {
		return err
	}
	if tx.Revision() <= keptRecords {
		return nil
	}
	var old [][]byte
	for e := range tx.r.Scan([]byte(recordKeys), nil) {
		if len(old) == 4 || string(e.Key) > string(recordKey(tx.Revision()-keptRecords)) {
			break
		}
		old = append(old, e.Key)
	}
	for _, key := range old {
		if err := tx.w.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// HasRecordFrom says whether a record of a change at or after revision is kept.
func (tx *Tx) HasRecordFrom(revision uint64) (bool, error) {
	for _, err := range tx.r.Scan([]byte(recordKeys), recordKey(revision)) {
		return err == nil, err
	}
	return false, nil
}

// recordsAtOnce bounds how long one read transaction of Records lasts.
const recordsAtOnce = 256

// Records yields the kept records of changes after a revision, in order, and
// waits for more until ctx ends.
func (d *Directory) Records(ctx context.Context, after uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for {
			d.mu.RLock()
			moved, failure := d.moved, d.failure
			d.mu.RUnlock()
			batch, err := d.recordsAfter(ctx, after)
			if err != nil {
				yield(Record{}, err)
				return
			}
			for _, rec := range batch {
				if !yield(rec, nil) {
					return
				}
				after = rec.Revision
			}
			if len(batch) > 0 {
				continue
			}
			if failure != nil {
				yield(Record{}, failure)
				return
			}
			select {
			case <-ctx.Done():
				yield(Record{}, ctx.Err())
				return
			case <-moved:
			}
		}
	}
}

func (d *Directory) recordsAfter(ctx context.Context, after uint64) (batch []Record, err error) {
	err = d.store.View(ctx, func(r store.Reader) error {
		for e, err := range r.Scan([]byte(recordKeys), recordKey(after+1)) {
			if err != nil {
				return err
			}
			rec, err := decodeRecord(e)
			if err != nil {
				return err
			}
			if batch = append(batch, rec); len(batch) == recordsAtOnce {
				return nil
			}
		}
		return nil
	})
	return batch, err
}

func decodeRecord(e store.Entry) (rec Record, err error) {
	if len(e.Key) != len(recordKeys)+8 {
		return Record{}, errors.New("the key of a change's record is not a revision")
	}
	rec.Revision = binary.BigEndian.Uint64(e.Key[len(recordKeys):])
	return rec, json.Unmarshal(e.Value, &rec)
}
