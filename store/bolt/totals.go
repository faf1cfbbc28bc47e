package bolt

import (
	"encoding/binary"
	"fmt"

	bbolt "go.etcd.io/bbolt"

	"sallyport/store"
	"sallyport/store/internal/checksum"
)

// totals are sums over all records. Every commit changes them with its records, so
// they show what the checksum of a record cannot: that a record is missing, is under
// another key, or is older than the last change.
type totals struct {
	records   uint64 // their number
	keys      uint64 // the sum of the checksums of their keys
	checksums uint64 // the sum of their own checksums
}

func (t *totals) add(key, record []byte) {
	t.records++
	t.keys += uint64(checksum.Of(nil, key))
	t.checksums += storedChecksum(record)
}

func (t *totals) remove(key, record []byte) {
	t.records--
	t.keys -= uint64(checksum.Of(nil, key))
	t.checksums -= storedChecksum(record)
}

// storedChecksum returns the checksum at the beginning of a record, right or wrong.
func storedChecksum(record []byte) uint64 {
	if len(record) < 4 {
		return 0
	}
	return uint64(binary.BigEndian.Uint32(record))
}

func (t totals) encode() []byte {
	text := binary.BigEndian.AppendUint64(nil, t.records)
	text = binary.BigEndian.AppendUint64(text, t.keys)
	return binary.BigEndian.AppendUint64(text, t.checksums)
}

func decodeTotals(text []byte) (t totals, ok bool) {
	if len(text) != 24 {
		return t, false
	}
	return totals{binary.BigEndian.Uint64(text), binary.BigEndian.Uint64(text[8:]), binary.BigEndian.Uint64(text[16:])}, true
}

// countRecords returns the totals of what is in the file, and an error for each damaged
// record.
func countRecords(data *bbolt.Bucket) (t totals, damaged []error) {
	c := data.Cursor()
	for key, record := c.First(); key != nil; key, record = c.Next() {
		t.add(key, record)
		if _, err := checksum.Verify(key, record); err != nil {
			damaged = append(damaged, err)
		}
	}
	return t, damaged
}

// checkTotals compares the records in the file with the totals of the last commit. A
// damaged record explains another sum of checksums, and whoever reads it is told; no
// damage to a value explains a missing key. checkTotals returns an error for each damaged
// record too.
func checkTotals(tx *bbolt.Tx) (damaged []error, err error) {
	want, ok := decodeTotals(tx.Bucket(metaBucket).Get(totalsKey))
	if !ok {
		return nil, fmt.Errorf("%w: the totals are damaged", store.ErrUnsound)
	}
	got, damaged := countRecords(tx.Bucket(dataBucket))
	return damaged, got.compare(want, len(damaged) > 0)
}

// compare returns an error if t are not the totals of the last change.
func (t totals) compare(want totals, damaged bool) error {
	switch {
	case t.records != want.records:
		return fmt.Errorf("%w: %d records are there, and the last change left %d", store.ErrUnsound, t.records, want.records)
	case t.keys != want.keys:
		return fmt.Errorf("%w: a record is under another key", store.ErrUnsound)
	case t.checksums != want.checksums && !damaged:
		return fmt.Errorf("%w: a record is older than the last change", store.ErrUnsound)
	}
	return nil
}
