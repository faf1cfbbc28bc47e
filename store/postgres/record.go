package postgres

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"sallyport/store"
)

// maxKey is the longest key, in bytes: PostgreSQL has no place for much more in an index.
const maxKey = 2000

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum returns the checksum of key and value. It includes the key, so that a value that has moved to another key counts as
// damaged too.
func sum(key, value []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, key), castagnoli, value)
}

// addChecksum returns value as it is stored, behind its checksum.
func addChecksum(key, value []byte) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(value)), sum(key, value)), value...)
}

// verify returns the value in a record, or an error that is ErrDamaged.
func verify(key, record []byte) ([]byte, error) {
	if len(record) < 4 || binary.BigEndian.Uint32(record) != sum(key, record[4:]) {
		return nil, fmt.Errorf("%w (key %q)", store.ErrDamaged, key)
	}
	return record[4:], nil
}

// encodeWrites returns the writes of one change behind their checksum: for each 0 for a deletion or 1, the key, and the
// value, each behind its length.
func encodeWrites(writes []store.Write) []byte {
	var text []byte
	for _, w := range writes {
		if w.Deleted {
			text = appendBytes(append(text, 0), w.Key)
		} else {
			text = appendBytes(appendBytes(append(text, 1), w.Key), w.Value)
		}
	}
	return addChecksum(nil, text)
}

func appendBytes(text, part []byte) []byte {
	return append(binary.AppendUvarint(text, uint64(len(part))), part...)
}

// decodeWrites is the inverse of encodeWrites. The writes share the memory of record.
func decodeWrites(record []byte) (writes []store.Write, err error) {
	text, err := verify(nil, record)
	if err != nil {
		return nil, err
	}
	for len(text) > 0 {
		w := store.Write{Deleted: text[0] == 0}
		ok := text[0] <= 1
		if ok {
			w.Key, text, ok = cutBytes(text[1:])
		}
		if ok && !w.Deleted {
			w.Value, text, ok = cutBytes(text)
		}
		if !ok {
			return nil, fmt.Errorf("%w: it is not a list of writes", store.ErrDamaged)
		}
		writes = append(writes, w)
	}
	return writes, nil
}

// cutBytes returns what appendBytes appended, and what comes after it.
func cutBytes(text []byte) (part, rest []byte, ok bool) {
	n, size := binary.Uvarint(text)
	if size <= 0 || n > uint64(len(text)-size) { //nolint:gosec // size is at most the length
		return nil, nil, false
	}
	end := size + int(n) //nolint:gosec // at most the length of text
	return text[size:end:end], text[end:], true
}
