package bolt

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	bbolt "go.etcd.io/bbolt"

	"sallyport/store"
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
	t.keys += uint64(crc32.Checksum(key, castagnoli))
	t.checksums += storedChecksum(record)
}

func (t *totals) remove(key, record []byte) {
	t.records--
	t.keys -= uint64(crc32.Checksum(key, castagnoli))
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

// countRecords returns the totals of what is in the file, and how many records are damaged.
func countRecords(data *bbolt.Bucket) (t totals, damaged int) {
	c := data.Cursor()
	for key, record := c.First(); key != nil; key, record = c.Next() {
		t.add(key, record)
		if _, err := verify(key, record); err != nil {
			damaged++
		}
	}
	return t, damaged
}

// checkTotals compares the records in the file with the totals of the last commit. A
// damaged record explains another sum of checksums, and whoever reads it is told; no
// damage to a value explains a missing key.
func checkTotals(tx *bbolt.Tx) error {
	want, ok := decodeTotals(tx.Bucket(metaBucket).Get(totalsKey))
	if !ok {
		return fmt.Errorf("%w: the totals are damaged", store.ErrUnsound)
	}
	got, damaged := countRecords(tx.Bucket(dataBucket))
	switch {
	case got.records != want.records:
		return fmt.Errorf("%w: %d records are there, and the last change left %d", store.ErrUnsound, got.records, want.records)
	case got.keys != want.keys:
		return fmt.Errorf("%w: a record is under another key", store.ErrUnsound)
	case got.checksums != want.checksums && damaged == 0:
		return fmt.Errorf("%w: a record is older than the last change", store.ErrUnsound)
	}
	return nil
}
