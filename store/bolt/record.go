package bolt

import (
	"bytes"
	"encoding/binary"
	"iter"

	bbolt "go.etcd.io/bbolt"

	"sallyport/store"
	"sallyport/store/internal/checksum"
)

// reader reads one bbolt transaction.
type reader struct {
	data     *bbolt.Bucket
	revision store.Revision
}

func newReader(tx *bbolt.Tx) *reader {
	return &reader{tx.Bucket(dataBucket), store.Revision(binary.BigEndian.Uint64(tx.Bucket(metaBucket).Get(revisionKey)))}
}

func (r *reader) Revision() store.Revision { return r.revision }

func (r *reader) Get(key []byte) ([]byte, error) {
	record := r.data.Get(key)
	if record == nil {
		return nil, store.ErrNotFound
	}
	return checksum.Verify(key, record)
}

func (r *reader) Scan(prefix, from []byte) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		if bytes.Compare(from, prefix) < 0 {
			from = prefix
		}
		c := r.data.Cursor()
		for k, record := c.Seek(from); k != nil && bytes.HasPrefix(k, prefix); k, record = c.Next() {
			value, err := checksum.Verify(k, record)
			if !yield(store.Entry{Key: k, Value: value}, err) {
				return
			}
		}
	}
}

// writer also records its writes for the feed, and keeps the totals. Only one goroutine uses it.
type writer struct {
	reader
	cursor *bbolt.Cursor // of Get: it is sought anew each time, without a new one
	totals *totals
	writes []store.Write
	urgent bool
}

// Urgent implements [store.Urgent].
func (w *writer) Urgent() { w.urgent = true }

func newWriter(r reader, totals *totals) *writer {
	return &writer{reader: r, cursor: r.data.Cursor(), totals: totals}
}

// Get implements [store.Reader].
func (w *writer) Get(key []byte) ([]byte, error) {
	record := w.record(key)
	if record == nil {
		return nil, store.ErrNotFound
	}
	return checksum.Verify(key, record)
}

// record returns what is stored at key; nil if there is nothing.
func (w *writer) record(key []byte) []byte {
	if found, record := w.cursor.Seek(key); bytes.Equal(found, key) {
		return record
	}
	return nil
}

func (w *writer) Put(key, value []byte) error {
	ofKey := checksum.Of(key, nil)
	if old := w.record(key); old != nil {
		w.totals.remove(ofKey, old)
	}
	record := checksum.Add(key, value)
	w.writes = append(w.writes, store.Write{Key: bytes.Clone(key), Value: record[len(record)-len(value):]})
	w.totals.add(ofKey, record)
	return w.data.Put(key, record)
}

func (w *writer) Delete(key []byte) error {
	old := w.record(key)
	if old == nil {
		return nil
	}
	w.totals.remove(checksum.Of(key, nil), old)
	w.writes = append(w.writes, store.Write{Key: bytes.Clone(key), Deleted: true})
	return w.data.Delete(key)
}
