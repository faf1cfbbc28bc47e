// Package store is durable state: an ordered map of keys to values that changes
// one revision at a time. store/bolt is the engine of a single machine.
//
// What must hold: revisions are consecutive, a revision is in force wholly or
// not at all, and Watch yields each exactly once, in order.
package store

import (
	"context"
	"errors"
	"iter"
)

// Revision numbers the states of a store; 0 is the empty one it begins with.
type Revision uint64

// What can go wrong, in this package's words.
var (
	ErrNotFound  = errors.New("no record has that key")
	ErrDamaged   = errors.New("record is damaged: its checksum does not match")
	ErrPoisoned  = errors.New("store takes no more writes: an earlier commit failed; restart once the disk is sound")
	ErrCompacted = errors.New("changes after that revision are no longer kept; read everything again")
	ErrClosed    = errors.New("store is closed")
	ErrMissing   = errors.New("store is missing or empty")
	ErrLocked    = errors.New("store is held by another process")
)

// Entry is one key and its value.
type Entry struct{ Key, Value []byte }

// Reader sees one revision. Bytes it returns are valid until the function it
// was given to returns.
type Reader interface {
	// Revision is the one being read; for a Writer, the one being written.
	Revision() Revision
	// Get is the value at key, or ErrNotFound or ErrDamaged.
	Get(key []byte) ([]byte, error)
	// Scan yields, in byte order, the entries whose keys begin with prefix,
	// from key from on (nil: the first). A damaged record is yielded as its key
	// with an error that is ErrDamaged, and the scan goes on.
	Scan(prefix, from []byte) iter.Seq2[Entry, error]
}

// Writer also changes what it reads.
type Writer interface {
	Reader
	Put(key, value []byte) error
	// Delete removes key; a missing key is no error.
	Delete(key []byte) error
}

// Write is one key's change: a new value, or its deletion.
type Write struct {
	Key, Value []byte
	Deleted    bool
}

// Change is all the writes of one revision.
type Change struct {
	Revision Revision
	Writes   []Write
}

// Store is an engine.
type Store interface {
	// View runs fn on the newest revision.
	View(ctx context.Context, fn func(Reader) error) error
	// Update makes one revision of what fn writes: all of it, durably, or
	// nothing. fn may run more than once. An error of fn undoes its writes and
	// is returned as it is; a function that writes nothing makes no revision.
	Update(ctx context.Context, fn func(Writer) error) (Revision, error)
	// Watch yields every change after a revision, in order, and waits for more
	// until ctx ends. It ends with ErrCompacted when changes were missed.
	Watch(ctx context.Context, after Revision) iter.Seq2[Change, error]
	Close() error
}
