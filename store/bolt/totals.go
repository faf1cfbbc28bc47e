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

// add adds a record whose key has the checksum ofKey.
func (t *totals) add(ofKey uint32, record []byte) {
	t.records++
	t.keys += uint64(ofKey)
	t.checksums += storedChecksum(record)
}

// remove is the reverse of add.
func (t *totals) remove(ofKey uint32, record []byte) {
	t.records--
	t.keys -= uint64(ofKey)
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

// records is what was found in the bucket of records.
type records struct {
	totals  totals
	damaged bool // one at least
}

// add adds a record, and reports whether it is not damaged.
func (r *records) add(key, record []byte) (ok bool) {
	ofKey, ok := checksum.Check(key, record)
	r.totals.add(ofKey, record)
	r.damaged = r.damaged || !ok
	return ok
}

// merge adds what another goroutine found.
func (r *records) merge(other records) {
	r.totals.records += other.totals.records
	r.totals.keys += other.totals.keys
	r.totals.checksums += other.totals.checksums
	r.damaged = r.damaged || other.damaged
}

// countRecords returns what is in the bucket of records, and an error for each damaged
// record.
func countRecords(data *bbolt.Bucket) (found records, damaged []error) {
	c := data.Cursor()
	for key, record := c.First(); key != nil; key, record = c.Next() {
		if !found.add(key, record) {
			_, err := checksum.Verify(key, record)
			damaged = append(damaged, err)
		}
	}
	return found, damaged
}

// checkTotals compares the records that were found in the file with the totals of the last
// commit. A damaged record explains another sum of checksums, and whoever reads it is told;
// no damage to a value explains a missing key.
func checkTotals(tx *bbolt.Tx, found records) error {
	want, ok := decodeTotals(tx.Bucket(metaBucket).Get(totalsKey))
	if !ok {
		return fmt.Errorf("%w: the totals are damaged", store.ErrUnsound)
	}
	return found.totals.compare(want, found.damaged)
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
