package store

import (
	"errors"
	"slices"
)

// DeleteAll deletes every key that begins with prefix, also of damaged records.
func DeleteAll(w Writer, prefix []byte) error {
	var keys [][]byte
	for e, err := range w.Scan(prefix, nil) {
		if err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
		keys = append(keys, slices.Clone(e.Key))
	}
	for _, key := range keys {
		if err := w.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// CopyAll writes every record of r whose key begins with prefix, but for those that are damaged.
func CopyAll(w Writer, r Reader, prefix []byte) error {
	for e, err := range r.Scan(prefix, nil) {
		switch {
		case errors.Is(err, ErrDamaged):
			continue
		case err != nil:
			return err
		}
		if err := w.Put(e.Key, e.Value); err != nil {
			return err
		}
	}
	return nil
}
