package directory

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"sallyport/store"
)

// overlay reads the directory as it was: what changes left is undone before the loader
// reads.
type overlay struct {
	store.Reader
	former map[string]value // by key
	sorted []string         // the keys of former; nil until they are sorted
}

// undo undoes a change. Changes are undone from the newest on.
func (o *overlay) undo(c *pastChange) error {
	for i := range c.formers {
		f := &c.formers[i]
		key := f.key()
		before := value{state: f.state}
		if f.state == whole {
			after, err := o.value(key)
			if err != nil {
				return err
			}
			if before, err = f.valueFrom(after); err != nil {
				return fmt.Errorf("undoing revision %d: %w", c.revision, err)
			}
		}
		o.former[key] = before
	}
	return nil
}

func (o *overlay) value(key string) (value, error) {
	if v, ok := o.former[key]; ok {
		return v, nil
	}
	return valueAt(o.Reader, []byte(key))
}

// valueFrom returns the former value of a key that has the value after.
func (f *former) valueFrom(after value) (value, error) {
	if after.state == unknown {
		return after, nil
	}
	text, ok := applyDelta(after.bytes, f.delta)
	if !ok {
		return value{}, errRecord
	}
	return wholeValue(text), nil
}

// Get implements [store.Reader].
func (o *overlay) Get(key []byte) ([]byte, error) {
	v, ok := o.former[string(key)]
	if !ok {
		return o.Reader.Get(key)
	}
	return v.get()
}

func (v value) get() ([]byte, error) {
	switch v.state {
	case absent:
		return nil, store.ErrNotFound
	case unknown:
		return nil, store.ErrDamaged
	}
	return v.bytes, nil
}

// Scan implements [store.Reader].
func (o *overlay) Scan(prefix, from []byte) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		if bytes.Compare(from, prefix) < 0 {
			from = prefix
		}
		former := o.keys(string(from))
		for e, err := range o.Reader.Scan(prefix, from) {
			n, ok := slices.BinarySearch(former, string(e.Key))
			if n > 0 && !o.yieldAll(former[:n], yield) {
				return
			}
			former = former[n:]
			if ok {
				continue // yielded with those after it
			}
			if !yield(e, err) {
				return
			}
		}
		end, _ := slices.BinarySearchFunc(former, string(prefix), func(key, prefix string) int {
			if len(key) >= len(prefix) && key[:len(prefix)] == prefix {
				return -1
			}
			return 1
		})
		o.yieldAll(former[:end], yield)
	}
}

// keys returns the sorted keys of former, beginning with from.
func (o *overlay) keys(from string) []string {
	if o.sorted == nil {
		o.sorted = slices.Sorted(maps.Keys(o.former))
	}
	n, _ := slices.BinarySearch(o.sorted, from)
	return o.sorted[n:]
}

func (o *overlay) yieldAll(keys []string, yield func(store.Entry, error) bool) bool {
	for _, key := range keys {
		record, err := o.former[key].get()
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if !yield(store.Entry{Key: []byte(key), Value: record}, err) {
			return false
		}
	}
	return true
}
