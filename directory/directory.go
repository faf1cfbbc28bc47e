// Package directory knows who exists and who belongs to what: the users, groups
// and members that the identity provider pushed.
//
// The truth is the store, read and changed through Tx. Decisions read a copy in
// memory, which only Run changes, in the store's order; Update returns once
// memory has its change, so an answer given after it is never older.
package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/store"
)

// What can go wrong, in this package's words.
var (
	ErrNotFound = errors.New("there is no such user or group")
	ErrReadOnly = errors.New("the directory takes no changes")
	ErrStale    = errors.New("the directory no longer follows the store")
	ErrJoin     = errors.New("callers can be joined by externalId or userName")
)

// ErrTaken says that an attribute that must be unique already belongs to another.
type ErrTaken struct{ Attribute, Value string }

func (e *ErrTaken) Error() string {
	return fmt.Sprintf("%s %q already exists", e.Attribute, e.Value)
}

// ErrUnkeepable says that a value cannot be kept as it is.
type ErrUnkeepable struct{ Attribute, Problem string }

func (e *ErrUnkeepable) Error() string { return e.Attribute + " " + e.Problem }

// User is a user the identity provider pushed. One handed out by Lookup or ByID
// is shared and never changes.
type User struct {
	ID          string          `json:"id"` // ours: 32 hex digits of 128 random bits, never used again
	ExternalID  string          `json:"externalId,omitempty"`
	UserName    string          `json:"userName"`
	DisplayName string          `json:"displayName,omitempty"`
	Email       string          `json:"email,omitempty"`  // the one that upstreams are told
	Emails      []string        `json:"emails,omitempty"` // all of them, for UsersByEmail
	Active      bool            `json:"active"`
	Epoch       uint64          `json:"epoch,omitempty"` // raised with each deactivation: sessions begun before are dead for ever
	Ended       time.Time       `json:"ended,omitzero"`  // when it was last: tokens issued before are dead, too
	Roles       []string        `json:"roles,omitempty"`
	Document    json.RawMessage `json:"document,omitempty"` // the SCIM resource without id, meta and groups
	Version     uint64          `json:"version"`
	Created     time.Time       `json:"created"`
	Modified    time.Time       `json:"modified"`

	memory
}

// memory is what only users from Lookup and ByID have.
type memory struct {
	Damaged    bool        `json:"-"` // a record of theirs fails its checksum: nothing may be decided in their favour
	Suspended  *Suspension `json:"-"` // nil: no operator shut them out
	GroupIDs   []string    `json:"-"` // externalId of each group they are a direct member of ("" if it has none), sorted
	GroupNames []string    `json:"-"` // displayName of each, in the order of GroupIDs

	groups     []*Group
	attributes *attributes
}

// attributes is a document decoded on first use.
type attributes struct {
	once    sync.Once
	decoded map[string]any
}

// Attributes is the user's SCIM document, decoded. It is shared: do not change it.
func (u *User) Attributes() map[string]any {
	if u.attributes == nil {
		return decode(u.Document)
	}
	u.attributes.once.Do(func() { u.attributes.decoded = decode(u.Document) })
	return u.attributes.decoded
}

func decode(document []byte) map[string]any {
	decoded := map[string]any{}
	_ = json.Unmarshal(document, &decoded) // absent or unreadable: no attributes
	return decoded
}

// Group is a group the identity provider pushed.
type Group struct {
	ID          string          `json:"id"`
	ExternalID  string          `json:"externalId,omitempty"`
	DisplayName string          `json:"displayName"`
	Document    json.RawMessage `json:"document,omitempty"` // the SCIM resource without id, meta and members
	Members     int             `json:"members"`            // how many direct members it has
	Version     uint64          `json:"version"`
	Created     time.Time       `json:"created"`
	Modified    time.Time       `json:"modified"`

	damaged bool
}

// Member is a direct member of a group: a user, or a group (never expanded).
type Member struct {
	ID      string
	IsGroup bool
}

// Record is what is kept of a change, committed with the change itself.
type Record struct {
	Revision uint64          `json:"-"`
	Received time.Time       `json:"received"` // when the request that made the change reached us
	Event    json.RawMessage `json:"event"`    // the audit event, opaque here
}

// Directory is the set of all users and groups.
type Directory struct {
	store   store.Store
	join    string
	index   atomic.Pointer[index] // swapped whole when everything is read again
	metrics *metrics

	mu       sync.RWMutex // guards what follows
	groups   map[string]*Group
	applied  store.Revision
	received []arrival
	moved    chan struct{} // closed when applied grows
	changed  chan struct{} // closed when Lookup may answer otherwise
	failure  error         // why memory may not be trusted
}

// index is what decisions read.
type index struct {
	users *table
	keys  *keys
}

// Open loads everything in st into memory. join is the SCIM attribute that
// callers are joined by: externalId or userName.
func Open(ctx context.Context, st store.Store, join string) (*Directory, error) {
	if join != "externalId" && join != "userName" {
		return nil, fmt.Errorf("%w, not %q", ErrJoin, join)
	}
	d := &Directory{store: st, join: join, metrics: newMetrics(),
		moved: make(chan struct{}), changed: make(chan struct{})}
	if err := d.load(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// Lookup finds a user by the join attribute, exactly. A value that two users
// share finds nobody. It reads memory only and allocates nothing.
func (d *Directory) Lookup(key string) (*User, bool) {
	if key == "" {
		return nil, false
	}
	return d.index.Load().keys.find(key)
}

// keyOf is the user's value of the join attribute.
func (d *Directory) keyOf(u *User) string {
	if d.join == "userName" {
		return u.UserName
	}
	return u.ExternalID
}

// ByID finds a user by our id. It reads memory only and allocates nothing.
func (d *Directory) ByID(id string) (*User, bool) { return d.index.Load().users.find(id) }

// Changed is closed when Lookup's answers may differ from before. Take it
// before looking, or a change in between is missed.
func (d *Directory) Changed() <-chan struct{} {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.changed
}

// Revision is the store's revision that memory shows.
func (d *Directory) Revision() uint64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return uint64(d.applied)
}

// Fresh is nil while memory follows the store, else ErrStale and why.
func (d *Directory) Fresh() error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.failure
}

// Groups lists every group.
func (d *Directory) Groups() []Group {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := make([]Group, 0, len(d.groups))
	for _, g := range d.groups {
		list = append(list, *g)
	}
	return list
}

// View runs fn on the truth.
func (d *Directory) View(ctx context.Context, fn func(*Tx) error) error {
	return d.store.View(ctx, func(r store.Reader) error { return fn(&Tx{r: r}) })
}

// Update makes all of fn's changes or none, and returns once Lookup sees them.
// fn may run more than once.
func (d *Directory) Update(ctx context.Context, fn func(*Tx) error) error {
	rev, err := d.store.Update(ctx, func(w store.Writer) error {
		return fn(&Tx{r: w, w: w, now: time.Now().UTC()})
	})
	switch {
	case errors.Is(err, store.ErrPoisoned), errors.Is(err, store.ErrClosed):
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	case err != nil:
		return err
	}
	return d.await(ctx, rev)
}

// await waits until memory has rev.
func (d *Directory) await(ctx context.Context, rev store.Revision) error {
	for {
		d.mu.RLock()
		applied, moved, failure := d.applied, d.moved, d.failure
		d.mu.RUnlock()
		switch {
		case applied >= rev:
			return nil
		case failure != nil:
			return failure
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		}
	}
}
