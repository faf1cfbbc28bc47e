// Package backup writes the records of a store as a stream that no engine's own format is part of, and reads such streams
// back.
//
// A stream is whole or it is refused: a reader that has seen the last record has compared the number and the SHA-256 of
// everything, and has found that nothing comes after it. Whoever puts records somewhere before that must be able to take
// them back.
//
// # Format
//
//	line     "sallyport backup 1" and a line feed; 1 is the version of the format
//	header   its length, then a JSON object: made, revision, version
//	records  each: 1 (one byte), the length of the key, the length of the value, the key, the value;
//	         in ascending order of the bytes of the keys, each key once
//	trailer  0 (one byte), the number of records (8 bytes, the highest first),
//	         SHA-256 of every byte before it (32 bytes)
//
// Lengths are unsigned LEB128, as [binary.AppendUvarint] writes them. Checksums that an engine keeps with its records are
// not part of a record. A stream may be encrypted to age recipients, as a whole.
package backup

import (
	"errors"
	"fmt"
	"time"
)

// version is the number of the format that this package writes, and the only one that it reads.
const version = 1

const (
	firstWords = "sallyport backup " // then the version and a line feed

	recordMark  = 1
	trailerMark = 0

	maxHeader = 64 << 10
	maxKey    = 32 << 10
	maxValue  = 64 << 20
)

// The errors of streams.
var (
	ErrNotBackup = errors.New("it is no backup")
	ErrDamaged   = errors.New("the backup is damaged")
	ErrCutOff    = fmt.Errorf("%w: its end is missing", ErrDamaged)
	ErrNewer     = errors.New("the backup is of a newer version of Sallyport; restore it with that version")
)

// Header is what a stream says of itself.
type Header struct {
	Made     time.Time `json:"made"`     // when reading the store began
	Revision uint64    `json:"revision"` // of the store that was read
	Version  string    `json:"version"`  // of the Sallyport that wrote the stream
}

// Summary is what the trailer says, which two streams of the same header and records have in common.
type Summary struct {
	Records uint64
	SHA256  [32]byte
}
