package postgres

import (
	"encoding/binary"
	"fmt"

	"sallyport/store"
	"sallyport/store/internal/checksum"
)

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
	return checksum.Add(nil, text)
}

func appendBytes(text, part []byte) []byte {
	return append(binary.AppendUvarint(text, uint64(len(part))), part...)
}

// decodeWrites is the inverse of encodeWrites. The writes share the memory of record.
func decodeWrites(record []byte) (writes []store.Write, err error) {
	text, err := checksum.Verify(nil, record)
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
