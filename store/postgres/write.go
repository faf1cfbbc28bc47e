package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"sallyport/store"
)

// writes are the newest writes by their keys.
type writes map[string]store.Write

// writer keeps what it writes in memory until the transaction is written. It reads what it and the updates before it in
// the same transaction have written.
type writer struct {
	*reader
	revision store.Revision
	before   writes // of the updates before
	own      writes
	list     []store.Write // in the order of the calls
}

func (w *writer) Revision() store.Revision { return w.revision }

// written returns what was written at key and is not in the table yet.
func (w *writer) written(key []byte) (store.Write, bool) {
	write, ok := w.own[string(key)]
	if !ok {
		write, ok = w.before[string(key)]
	}
	return write, ok
}

func (w *writer) Get(key []byte) ([]byte, error) {
	write, ok := w.written(key)
	switch {
	case !ok:
		return w.reader.Get(key)
	case write.Deleted:
		return nil, store.ErrNotFound
	}
	return write.Value, nil
}

func (w *writer) Put(key, value []byte) error {
	if len(key) > store.MaxKey {
		return fmt.Errorf("a key of %d bytes is too long: at most %d can be stored", len(key), store.MaxKey)
	}
	w.add(store.Write{Key: bytes.Clone(notNil(key)), Value: append([]byte{}, value...)})
	return nil
}

func (w *writer) Delete(key []byte) error {
	switch _, err := w.Get(key); {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil && !errors.Is(err, store.ErrDamaged):
		return err
	}
	w.add(store.Write{Key: bytes.Clone(notNil(key)), Deleted: true})
	return nil
}

func (w *writer) add(write store.Write) {
	w.own[string(write.Key)] = write
	w.list = append(w.list, write)
}

// Scan merges what the table has with what was written.
func (w *writer) Scan(prefix, from []byte) iter.Seq2[store.Entry, error] {
	merged := maps.Clone(w.before)
	maps.Copy(merged, w.own)
	maps.DeleteFunc(merged, func(key string, _ store.Write) bool {
		return !bytes.HasPrefix([]byte(key), prefix) || key < string(from)
	})
	if len(merged) == 0 {
		return w.reader.Scan(prefix, from)
	}
	return merge(w.reader.Scan(prefix, from), merged)
}

// merge yields the entries of a table as they are after writes, in order.
func merge(table iter.Seq2[store.Entry, error], written writes) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		waiting := slices.Sorted(maps.Keys(written))
		// next yields the written entries before key; all of them without a key.
		next := func(key []byte) bool {
			for len(waiting) > 0 && (key == nil || waiting[0] < string(key)) {
				write := written[waiting[0]]
				waiting = waiting[1:]
				if !write.Deleted && !yield(store.Entry{Key: write.Key, Value: write.Value}, nil) {
					return false
				}
			}
			return true
		}
		for e, err := range table {
			if e.Key == nil { // the table cannot be read
				yield(e, err)
				return
			}
			if !next(e.Key) {
				return
			}
			if _, ok := written[string(e.Key)]; !ok && !yield(e, err) {
				return
			}
		}
		next(nil)
	}
}
