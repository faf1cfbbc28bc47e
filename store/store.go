// Package store keeps state durably: it is an ordered map of keys to values that changes
// one revision at a time. Package store/bolt is the engine for a single machine.
//
// What must hold: revisions are consecutive, a revision is committed as a whole or
// not at all, and Watch yields each exactly once, in order.
package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Revision numbers the states of a store; 0 is the empty store.
type Revision uint64

// MaxKey is the greatest length of a key, in bytes, that every engine can store.
const MaxKey = 2000

// The errors of a store.
var (
	ErrNotFound = errors.New("no record has that key")
	ErrDamaged  = errors.New("record is damaged: its checksum does not match")
	// ErrPoisoned means that a commit failed, and that no change is made until the store has recovered.
	ErrPoisoned = errors.New("store accepts no changes at the moment: a commit failed, and it is tried every second to go on")
	// ErrUncertain is the error of a change whose commit failed. Once the store has
	// recovered, the change is either there and was sent to everybody who watches, or it never will be.
	ErrUncertain = errors.New("it is not known whether the change is stored")
	// ErrFull means that the change was not made. Changes that are [Urgent] may still be.
	ErrFull      = errors.New("the disk of the store is full: free some space; until then only what takes access away is stored")
	ErrCompacted = errors.New("changes after that revision are no longer available; read everything again")
	ErrClosed    = errors.New("store is closed")
	// ErrStale means that this process cannot prove that it has every change: another may have made some.
	ErrStale = errors.New("this replica may not have the newest changes")
	// ErrUnreachable means that the database of the store did not respond as it must. Nothing was changed.
	ErrUnreachable = errors.New("the database of the store cannot be reached, or refuses to work")
	ErrMissing     = errors.New("store is missing or empty")
	// ErrUnsound means that the store as a whole is not what the last change left.
	ErrUnsound = errors.New("store is not what its last change left")
	// ErrBehind is ErrUnsound: changes that were acknowledged are lost.
	ErrBehind = fmt.Errorf("%w: it lacks changes that were acknowledged", ErrUnsound)
	ErrLocked = errors.New("store is held by another process")
	// ErrNewer means that only a newer version can read the store. It was not changed.
	ErrNewer = errors.New("store is of a newer version of Sallyport")
)

// Entry is one key and its value.
type Entry struct{ Key, Value []byte }

// Reader reads one revision. The bytes that it returns are valid until the function
// that received the Reader returns.
type Reader interface {
	// Revision returns the revision being read; for a Writer, the one being written.
	Revision() Revision
	// Get returns the value at key, or ErrNotFound or ErrDamaged.
	Get(key []byte) ([]byte, error)
	// Scan yields the entries whose keys begin with prefix, in byte order, beginning
	// with the key from (nil: the first). Of a damaged record it yields the key, with
	// an error that is ErrDamaged, and goes on.
	Scan(prefix, from []byte) iter.Seq2[Entry, error]
}

// Writer also writes. It reads what it has written.
type Writer interface {
	Reader
	Put(key, value []byte) error
	// Delete removes key. A key that does not exist is no error.
	Delete(key []byte) error
}

// Urgent lets the update of w use the space that the store keeps for changes that take
// access away: they are the last to be refused when the disk is full. A store that keeps
// none ignores it.
func Urgent(w Writer) {
	if u, ok := w.(interface{ Urgent() }); ok {
		u.Urgent()
	}
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
	// Update makes one revision of what fn writes: all of it, durably, or nothing.
	// fn may run more than once. If fn returns an error, its writes are undone and
	// Update returns that error. If fn writes nothing, there is no new revision.
	Update(ctx context.Context, fn func(Writer) error) (Revision, error)
	// Watch yields every change after a revision, in order, and waits for more until
	// ctx ends. It ends with ErrCompacted if changes after that revision are lost.
	Watch(ctx context.Context, after Revision) iter.Seq2[Change, error]
	Close() error
}

// Followed is a store that another process may change too. What memory has of it may be decided from only while each
// [Follower] says so.
type Followed interface {
	// Follow adds memory that follows the store.
	Follow() Follower
}

// Leaser is a store that several processes, the replicas, use at once. What memory has of it may be decided from only while
// the store confirms that there is nothing newer.
type Leaser interface {
	Followed
	// Enforced returns when no replica decides from memory that lacks revision, or with an error of ctx and what it
	// knew then. Revision 0 stands for the newest, which has every change that was committed before the call.
	Enforced(ctx context.Context, revision Revision) (Enforcement, error)
	// Newest returns the newest revision that was committed before the call.
	Newest(ctx context.Context) (Revision, error)
	// Leads reports whether this replica is the one that does what only one of them shall do. For a moment two may
	// believe so, or none.
	Leads(ctx context.Context) (bool, error)
}

// Leads reports whether this process does what only one of those that use st shall do.
func Leads(ctx context.Context, st Store) (bool, error) {
	if l, ok := st.(Leaser); ok {
		return l.Leads(ctx)
	}
	return true, nil
}

// Follower is memory that follows the store.
type Follower interface {
	// Applied says that memory has revision.
	Applied(revision Revision)
	// Err returns nil if memory may be decided from now, or an error that is ErrStale.
	Err() error
	// Changed returns a channel that is closed when Err may give another result.
	Changed() <-chan struct{}
}

// Enforcement is what replicas made of a change, by their names.
type Enforcement struct {
	Revision Revision // of the change
	Applied  []string // have it
	Fenced   []string // do not decide at all
	Waiting  []string // may decide without it
}
