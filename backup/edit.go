package backup

import (
	"bytes"
	"iter"
	"maps"
	"slices"

	"sallyport/store"
)

// Edit is a revision of a store with changes of its own, which stay in memory: what a copy holds in place of what is stored.
// It is a [store.Writer].
type Edit struct {
	store.Reader
	changes map[string]change
	sorted  []string // the keys of changes; nil until they are sorted
}

// change is a new value, or a deletion.
type change struct {
	value   []byte
	deleted bool
}

// NewEdit returns an edit of what r reads, without changes yet.
func NewEdit(r store.Reader) *Edit { return &Edit{Reader: r, changes: map[string]change{}} }

// Put implements [store.Writer].
func (e *Edit) Put(key, value []byte) error {
	e.changes[string(key)], e.sorted = change{value: append([]byte{}, value...)}, nil
	return nil
}

// Delete implements [store.Writer].
func (e *Edit) Delete(key []byte) error {
	e.changes[string(key)], e.sorted = change{deleted: true}, nil
	return nil
}

// Get implements [store.Reader].
func (e *Edit) Get(key []byte) ([]byte, error) {
	c, ok := e.changes[string(key)]
	switch {
	case !ok:
		return e.Reader.Get(key)
	case c.deleted:
		return nil, store.ErrNotFound
	}
	return c.value, nil
}

// Scan implements [store.Reader]. What is changed while it yields may be left out.
func (e *Edit) Scan(prefix, from []byte) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		changed := e.keys(prefix, from)
		for entry, err := range e.Reader.Scan(prefix, from) {
			n, same := slices.BinarySearch(changed, string(entry.Key))
			if !e.yieldAll(changed[:n], yield) {
				return
			}
			changed = changed[n:]
			if same { // yielded with those after it
				continue
			}
			if !yield(entry, err) {
				return
			}
		}
		e.yieldAll(changed, yield)
	}
}

// keys returns the changed keys that begin with prefix, in order, beginning with from.
func (e *Edit) keys(prefix, from []byte) []string {
	if e.sorted == nil {
		e.sorted = slices.Sorted(maps.Keys(e.changes))
	}
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	begin, _ := slices.BinarySearch(e.sorted, string(from))
	end := begin
	for end < len(e.sorted) && bytes.HasPrefix([]byte(e.sorted[end]), prefix) {
		end++
	}
	return e.sorted[begin:end]
}

func (e *Edit) yieldAll(keys []string, yield func(store.Entry, error) bool) bool {
	for _, key := range keys {
		if c := e.changes[key]; !c.deleted && !yield(store.Entry{Key: []byte(key), Value: c.value}, nil) {
			return false
		}
	}
	return true
}
