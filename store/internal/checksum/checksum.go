// Package checksum stores values behind a checksum of themselves and their keys: a value that has moved to another key
// counts as damaged too.
package checksum

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"sallyport/store"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Of returns the checksum of key and value.
func Of(key, value []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, key), castagnoli, value)
}

// Add returns value as it is stored, behind its checksum.
func Add(key, value []byte) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(value)), Of(key, value)), value...)
}

// Check returns the checksum of key alone, and reports whether record is not damaged.
func Check(key, record []byte) (ofKey uint32, ok bool) {
	ofKey = Of(key, nil)
	return ofKey, len(record) >= 4 && binary.BigEndian.Uint32(record) == crc32.Update(ofKey, castagnoli, record[4:])
}

// Verify returns the value in a record, or an error that is [store.ErrDamaged].
func Verify(key, record []byte) ([]byte, error) {
	if _, ok := Check(key, record); !ok {
		return nil, fmt.Errorf("%w (key %q)", store.ErrDamaged, key)
	}
	return record[4:], nil
}
