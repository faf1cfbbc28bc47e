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
