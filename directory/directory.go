// Package directory knows who exists and who belongs to what: the users, groups
// and members that the identity provider pushed.
//
// The store is the truth; it is read and changed through Tx. Decisions read a copy
// in memory, which only Run changes, in the order of the store's revisions. Update
// returns once memory has its change, so that every later decision is made with it.
package directory

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/store"
	"sallyport/store/follow"
)

// The errors of this package, beside [ConflictError] and [InvalidError].
var (
	ErrNotFound = errors.New("there is no such user or group")
	ErrReadOnly = errors.New("the directory accepts no changes")
	ErrStored   = errors.New("the change is stored, but decisions do not depend on it yet")
	ErrStale    = errors.New("the directory no longer follows the store")
	ErrJoin     = errors.New("callers can be joined by externalId or userName")
)

// ConflictError means that another user or group has a value that must be unique.
type ConflictError struct{ Attribute, Value string }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s %q already exists", e.Attribute, e.Value)
}

// InvalidError means that the value of an attribute cannot be stored.
type InvalidError struct{ Attribute, Problem string }

func (e *InvalidError) Error() string { return e.Attribute + " " + e.Problem }

// Directory is the set of all users and groups. Its methods may be called
// concurrently.
type Directory struct {
	store    store.Store
	join     string                // the join attribute: externalId or userName
	mirror   *follow.Mirror        // brings every change of the store into memory
	index    atomic.Pointer[index] // replaced when everything is read again
	metrics  *metrics
	onLeave  OnLeave  // nil: nobody is told
	onDelete OnDelete // likewise
	pending  pending  // what this replica has yet to record

	bounds   atomic.Pointer[bounds]   // of the history
	baseline atomic.Pointer[baseline] // of the history, when everything was read
	past     chan struct{}            // holds a value while the past is read
	now      func() time.Time         // time.Now, but in tests

	touched  follow.Feed[Touched]
	touching []Touched // by the change that is being applied; only for the goroutine that applies it

	mu       sync.RWMutex // guards the fields below
	groups   map[string]*Group
	ended    map[string]time.Time // when callers with a value of the join attribute last ended
	receipts []receipt
}

// index is what decisions read.
type index struct {
	users *userIndex
	keys  *joinIndex
}

// Open loads everything in st into memory. join is the SCIM attribute that
// callers are joined by: externalId or userName.
func Open(ctx context.Context, st store.Store, join string) (*Directory, error) {
	if join != "externalId" && join != "userName" {
		return nil, fmt.Errorf("%w, not %q", ErrJoin, join)
	}
	d := &Directory{store: st, join: join, metrics: newMetrics(), past: make(chan struct{}, 1), now: time.Now,
		pending: pending{woken: make(chan struct{}, 1), from: math.MaxUint64}}
	d.bounds.Store(&bounds{time.Duration(DefaultRetention), maxHistory})
	var err error
	if d.mirror, err = follow.New(ctx, st, d.load, d.apply); err != nil {
		return nil, err
	}
	d.mirror.OnUnknown(d.touched.AddUnknown)
	return d, nil
}

// Run brings every change of the store into memory until ctx ends or the store
// fails. After that memory may not be trusted, and Fresh returns why.
func (d *Directory) Run(ctx context.Context) error { return d.mirror.Run(ctx) }

// Lookup returns the user whose join attribute is exactly key. If several users
// have the value, it returns the one who is suspended, else the only active one, else
// none. It reads memory only and does not allocate.
func (d *Directory) Lookup(key string) (*User, bool) {
	if key == "" {
		return nil, false
	}
	return d.index.Load().keys.find(key)
}

// Join returns the SCIM attribute that callers are joined by: externalId or userName.
func (d *Directory) Join() string { return d.join }

// keyOf returns the user's value of the join attribute.
func (d *Directory) keyOf(u *User) string { return joinKey(d.join, u) }

func joinKey(join string, u *User) string {
	if join == "userName" {
		return u.UserName
	}
	return u.ExternalID
}

// ByID returns the user with our id. It reads memory only and does not allocate.
func (d *Directory) ByID(id string) (*User, bool) { return d.index.Load().users.find(id) }

// Users returns every user as memory has them, by userName. A user who is pushed
// meanwhile may be missing.
func (d *Directory) Users() []*User { return d.index.Load().users.sorted() }

// Snapshot is [Directory.Users] in no order, which takes a fraction of the time.
func (d *Directory) Snapshot() []*User { return d.index.Load().users.snapshot() }

// sorted returns every user, by userName.
func (idx *userIndex) sorted() []*User {
	users := idx.snapshot()
	slices.SortFunc(users, compareUsers)
	return users
}

// NameOf returns the displayName of a member as memory has it, or "".
func (d *Directory) NameOf(m Member) string {
	if m.IsGroup {
		if g, ok := d.group(m.ID); ok {
			return g.DisplayName
		}
		return ""
	}
	if u, ok := d.ByID(m.ID); ok {
		return u.DisplayName
	}
	return ""
}

// CatchUp returns nil once memory has what any replica has stored before the call.
func (d *Directory) CatchUp(ctx context.Context) error { return d.mirror.CatchUp(ctx) }

// Changed returns a channel that is closed when Lookup may give another result
// than before. Take it before calling Lookup, or a change in between is missed.
func (d *Directory) Changed() <-chan struct{} { return d.mirror.Changed() }

// Revision returns the store's revision that memory has.
func (d *Directory) Revision() uint64 { return uint64(d.mirror.Revision()) }

// Fresh returns nil while memory follows the store, otherwise an error that is
// [ErrStale] and wraps the reason.
func (d *Directory) Fresh() error { return stale(d.mirror.Err()) }

// stale wraps an error of the mirror in ErrStale if memory does not have, or may not have, what the store has.
func stale(err error) error {
	if errors.Is(err, follow.ErrEnded) || errors.Is(err, store.ErrStale) {
		return fmt.Errorf("%w: %w", ErrStale, err)
	}
	return err
}

// Groups returns a copy of every group.
func (d *Directory) Groups() []Group {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := make([]Group, 0, len(d.groups))
	for _, g := range d.groups {
		list = append(list, *g)
	}
	return list
}

// View runs fn on the store's newest revision.
func (d *Directory) View(ctx context.Context, fn func(*Tx) error) error {
	return d.store.View(ctx, func(r store.Reader) error { return fn(&Tx{r: r, join: d.join}) })
}

// Update makes all of fn's changes or none, and returns once Lookup sees them.
// fn may run more than once. An error that is [ErrStored] means that the changes
// are made, but that Lookup may not see them yet; after any other none is made.
func (d *Directory) Update(ctx context.Context, fn func(*Tx) error) error {
	revision, urgent, err := d.update(ctx, fn, false)
	if urgent && errors.Is(err, store.ErrFull) { // access is taken away rather than the history kept
		revision, _, err = d.update(ctx, fn, true)
	}
	switch {
	case errors.Is(err, store.ErrPoisoned), errors.Is(err, store.ErrClosed):
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	case err != nil:
		return err
	}
	if err := d.mirror.Wait(ctx, revision); err != nil {
		return fmt.Errorf("%w: %w", ErrStored, stale(err))
	}
	return nil
}

// update calls fn within an update of the store. It also writes the history, unless that
// is to be forgotten. It reports whether the change is urgent.
func (d *Directory) update(ctx context.Context, fn func(*Tx) error, forget bool) (revision store.Revision, urgent bool, err error) {
	revision, err = d.store.Update(ctx, func(w store.Writer) error {
		rec := &recorder{Writer: w, directory: d, forget: forget}
		tx := &Tx{r: rec, w: rec, now: d.now().UTC(), join: d.join, replica: d.pending.replica}
		err := fn(tx)
		if err == nil {
			err = errors.Join(tx.tellOfLeavers(d.onLeave), tx.tellOfDeleted(d.onDelete))
		}
		if err == nil {
			err = rec.finish(tx.now, tx.cause)
		}
		urgent = rec.urgent
		return err
	})
	return revision, urgent, err
}
