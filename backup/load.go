package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"sallyport/store"
)

// Bounds of one transaction of [Load].
const (
	batchRecords = 5000
	batchBytes   = 8 << 20
)

// ErrNotEmpty means that a store has records already.
var ErrNotEmpty = errors.New("the store has records already")

// Load puts every record into a store, which must be empty: else it returns [ErrNotEmpty]. It takes many transactions:
// after an error the store holds some of the records, and must not be used.
func Load(ctx context.Context, to store.Store, records iter.Seq2[store.Entry, error]) error {
	if err := demandEmpty(ctx, to); err != nil {
		return err
	}
	var batch []store.Entry
	size := 0
	flush := func() error {
		_, err := to.Update(ctx, func(w store.Writer) error {
			for _, e := range batch {
				if err := w.Put(e.Key, e.Value); err != nil {
					return err
				}
			}
			return nil
		})
		batch, size = batch[:0], 0
		if err != nil {
			return fmt.Errorf("writing the records of a backup: %w", err)
		}
		return nil
	}
	for e, err := range records {
		if err != nil {
			return err
		}
		batch = append(batch, store.Entry{Key: bytes.Clone(e.Key), Value: bytes.Clone(e.Value)})
		if size += len(e.Key) + len(e.Value); len(batch) < batchRecords && size < batchBytes {
			continue
		}
		if err := flush(); err != nil {
			return err
		}
	}
	return flush()
}

func demandEmpty(ctx context.Context, st store.Store) error {
	return st.View(ctx, demandNoRecords)
}

func demandNoRecords(r store.Reader) error {
	for e := range r.Scan(nil, nil) {
		return fmt.Errorf("%w: %q is one", ErrNotEmpty, e.Key)
	}
	return nil
}
