package directory

import (
	"bytes"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/store/plainjson"
)

// User is a user that the identity provider pushed. A User that Lookup or ByID returns
// is shared and never changes.
//
// Only the fields with a name in JSON are stored. The others are computed from
// Document when the user is read, so that a new one needs no migration.
type User struct {
	ID            string          `json:"id"` // ours: 32 hex digits, never used again
	ExternalID    string          `json:"externalId,omitempty"`
	UserName      string          `json:"userName"`
	Active        bool            `json:"active"`
	Epoch         uint64          `json:"epoch,omitempty"`    // raised by each deactivation, and when the join attribute changes; sessions of an earlier epoch are never valid again
	DeactivatedAt time.Time       `json:"ended,omitzero"`     // when Epoch was last raised; tokens issued before are not valid either
	Document      json.RawMessage `json:"document,omitempty"` // the SCIM resource without id, meta and groups
	Version       uint64          `json:"version"`
	Created       time.Time       `json:"created"`
	Modified      time.Time       `json:"modified"`

	Derived
	inMemory
}

// Derived has the fields that are computed from a user's document and userName.
type Derived struct {
	DisplayName string   `json:"-"` // displayName, else name.formatted, else userName
	Email       string   `json:"-"` // the address that upstreams are told: the primary one, else the work one, else the first
	Emails      []string `json:"-"` // every address, for UsersByEmail
	Roles       []string `json:"-"`
}

// inMemory has the fields that only users from Lookup and ByID have.
type inMemory struct {
	Damaged    bool        `json:"-"` // a record of the user fails its checksum: no decision may allow the user anything
	Suspended  *Suspension `json:"-"` // nil: no operator suspended the user
	GroupIDs   []string    `json:"-"` // externalId of each group that the user is a direct member of ("" if it has none), sorted
	GroupNames []string    `json:"-"` // displayName of each, in the order of GroupIDs

	groups     []*Group
	attributes *attributes
}

// Barred returns why the user may use nothing, whatever the rules say:
// damaged_record, suspended or inactive_user. It returns "" if the rules decide.
func (u *User) Barred() string {
	switch {
	case u.Damaged:
		return "damaged_record"
	case u.Suspended != nil:
		return "suspended"
	case !u.Active:
		return "inactive_user"
	}
	return ""
}

// attributes is a document decoded on first use, and the names that searches compare.
type attributes struct {
	once    sync.Once
	decoded map[string]any
	search  atomic.Pointer[string] // nil until the first search
}

// Attributes returns the user's SCIM document, decoded. It is shared: do not
// change it.
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

// decodeUser decodes a stored user and computes the derived fields.
func decodeUser(record []byte, u *User) error {
	if !u.readPlain(record) {
		*u = User{}
		if err := json.Unmarshal(record, u); err != nil {
			return err
		}
	}
	u.derive()
	return nil
}

// readPlain reads a user as nearly all are stored, which makes a start with many users faster. It reports false if
// encoding/json has to read it.
func (u *User) readPlain(record []byte) bool {
	object := plainjson.New(record)
	for name, ok := object.Next(); ok; name, ok = object.Next() {
		switch string(name) {
		case "id":
			u.ID = string(object.Text())
		case "externalId":
			u.ExternalID = string(object.Text())
		case "userName":
			u.UserName = string(object.Text())
		case "active":
			u.Active = object.Bool()
		case "epoch":
			u.Epoch = object.Uint()
		case "ended":
			u.DeactivatedAt = object.Time()
		case "document":
			u.Document = bytes.Clone(object.Object())
		case "version":
			u.Version = object.Uint()
		case "created":
			u.Created = object.Time()
		case "modified":
			u.Modified = object.Time()
		default:
			return false
		}
	}
	return object.End()
}

// newUser returns the user at id as memory has it. If the record cannot be read, the
// user is damaged.
func newUser(id string, record []byte, err error) *User {
	u := &User{}
	if err == nil {
		err = decodeUser(record, u)
	}
	if err != nil || u.ID != id {
		u = &User{ID: id, inMemory: inMemory{Damaged: true}}
	}
	u.attributes = &attributes{}
	return u
}

// setGroups sets the user's groups, which must be sorted, and the parallel slices that
// decisions read. The user must not be shared yet.
func (u *User) setGroups(groups []*Group) {
	u.groups = groups
	n := len(groups)
	texts := make([]string, 2*n)
	u.GroupIDs, u.GroupNames = texts[:n:n], texts[n:]
	for i, g := range groups {
		u.GroupIDs[i], u.GroupNames[i] = g.ExternalID, g.DisplayName
		u.Damaged = u.Damaged || g.damaged
	}
}

// withGroups returns a copy of the user that belongs to groups.
func (u *User) withGroups(groups []*Group) *User {
	next := *u
	sortGroups(groups)
	next.setGroups(groups)
	return &next
}
