package grant

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"sallyport/store"
)

// The keys of this package in the store:
//
//	request/ID              a request for access, as text
//	grants/USER/ID          a grant, as text
//	revoked/USER/GROUP      a membership that a review revoked; the directory's ids, as text
//	unrevoked/USER/GROUP/T  a revocation that was made at T and has ended; nanoseconds since 1970
//	review/ID               a review, as text
//	reviewrow/ID/NUMBER     a row of a review, as text, with a number of six digits
//	armed/USER              a break-glass code that is armed, as a digest; only where several replicas use the store
//	reviewkey/ID            a key that exports of reviews are signed with, as text
const (
	prefixRequest = "request/"
	prefixGrant   = "grants/"
	prefixRevoked = "revoked/"
	prefixFormer  = "unrevoked/"
	prefixReview  = "review/"
	prefixRow     = "reviewrow/"
	prefixKey     = "reviewkey/"
	prefixArmed   = "armed/"
)

// Keep is how long ended requests and grants are kept.
const Keep = 400 * 24 * time.Hour

// Person is a user at a certain time. A user who was deactivated or suspended since has
// another epoch.
type Person struct {
	ID       string `json:"id"` // the directory's
	UserName string `json:"userName"`
	Epoch    uint64 `json:"epoch"`
}

// Request is a user's request for access by one policy.
type Request struct {
	ID        string     `json:"id"`
	Person    Person     `json:"person"`
	Policy    string     `json:"policy"`
	Route     string     `json:"route"`
	URL       string     `json:"url"` // what the person had asked for, without its query
	Reason    string     `json:"reason,omitempty"`
	Made      time.Time  `json:"made"`
	Expires   time.Time  `json:"expires"`
	Approvals []Approval `json:"approvals,omitempty"`
	State     State      `json:"state"`
	Decided   time.Time  `json:"decided,omitzero"`
	By        string     `json:"by,omitempty"`    // who decided, by userName or operator
	Why       string     `json:"why,omitempty"`   // what they said
	Grant     string     `json:"grant,omitempty"` // the id of the grant that came of it
}

// State is what became of a request.
type State string

// The states of a request.
const (
	StateOpen      State = "open"
	StateApproved  State = "approved"
	StateDenied    State = "denied"
	StateWithdrawn State = "withdrawn"
	StateExpired   State = "expired"
)

// Approval is one person's approval of a request.
type Approval struct {
	By    string        `json:"by"`              // the directory's id; "" for an operator
	Epoch uint64        `json:"epoch,omitempty"` // of the person: an approval by somebody who was suspended since does not count
	Name  string        `json:"name"`            // userName, or the operator's
	At    time.Time     `json:"at"`
	For   time.Duration `json:"for_ns,omitempty"` // the longest time of the grant that they approve
	Why   string        `json:"why,omitempty"`
}

// Grant lets one person in by one policy until a time.
type Grant struct {
	ID      string    `json:"id"`
	Person  Person    `json:"person"`
	Policy  string    `json:"policy"`
	Request string    `json:"request,omitempty"` // of which it came
	By      []string  `json:"by"`                // who approved
	Began   time.Time `json:"began"`
	Until   time.Time `json:"until"`
	Ended   time.Time `json:"ended,omitzero"`     // when it was revoked, or found to have ended; zero until then
	EndedBy string    `json:"ended_by,omitempty"` // "" if it ended by itself
	Why     string    `json:"why,omitempty"`      // it was revoked
}

// OpenAt reports whether the request waits for a decision.
func (r *Request) OpenAt(t time.Time) bool { return r.State == StateOpen && t.Before(r.Expires) }

// OpenAt reports whether the grant lets its person in at t, which is now, if the person stays. A grant begins when it is
// stored. It is open even if a clock that was set back says that it begins later: it must be possible to end it.
func (g *Grant) OpenAt(t time.Time) bool { return g.Ended.IsZero() && t.Before(g.Until) }

// wasOpenAt reports whether the grant let its person in at a time in the past, if the person stayed.
func (g *Grant) wasOpenAt(t time.Time) bool { return !t.Before(g.Began) && t.Before(g.End()) }

// End returns when the grant ends or ended, if its person stays.
func (g *Grant) End() time.Time {
	if !g.Ended.IsZero() && g.Ended.Before(g.Until) {
		return g.Ended
	}
	return g.Until
}

// Revocation is a membership that reviews revoked. It counts until the identity provider
// has removed the membership.
type Revocation struct {
	User     string    `json:"user"`  // the directory's ids
	Group    string    `json:"group"` //
	Key      string    `json:"key"`   // by which rules named the group then: its object ID, or its name if it had none
	UserName string    `json:"userName,omitempty"`
	Name     string    `json:"name,omitempty"` // of the group
	Rows     []RowRef  `json:"rows"`           // that revoked it
	By       string    `json:"by"`             // who was the first to
	Since    time.Time `json:"since"`
	Cleared  time.Time `json:"cleared,omitzero"` // when the identity provider removed the membership; it does not count any more
}

// NewID returns the id of a new request or grant.
func NewID() string {
	id := make([]byte, 8)
	rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

func requestKey(id string) []byte          { return []byte(prefixRequest + id) }
func grantKey(user, id string) []byte      { return []byte(prefixGrant + user + "/" + id) }
func revokedKey(user, group string) []byte { return []byte(prefixRevoked + user + "/" + group) }
func (r *Request) key() []byte             { return requestKey(r.ID) }
func (g *Grant) key() []byte               { return grantKey(g.Person.ID, g.ID) }
func (r *Revocation) key() []byte          { return revokedKey(r.User, r.Group) }

// keyed is a record that knows its key.
type keyed interface{ key() []byte }

func put(w store.Writer, record keyed) error {
	text, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encoding a record: %w", err)
	}
	return w.Put(record.key(), text)
}

// decode decodes the record at key. A record that has the key of another is damaged.
func decode(key, value []byte, record keyed) error {
	if err := json.Unmarshal(value, record); err != nil {
		return fmt.Errorf("%s: %w: %w", key, store.ErrDamaged, err)
	}
	if !bytes.Equal(record.key(), key) {
		return fmt.Errorf("%s: %w: it is the record of %s", key, store.ErrDamaged, record.key())
	}
	return nil
}

var errRecord = errors.New("the record is not what was written")

// Inspect looks at one record of the store. It reports whether the record belongs to this
// package, and what is wrong with it.
func Inspect(e store.Entry) (ours bool, err error) {
	record := recordAt(string(e.Key))
	if record == nil {
		return false, nil
	}
	if decode(e.Key, e.Value, record) != nil {
		return true, errRecord
	}
	return true, nil
}

// recordAt returns an empty record of the kind that a key is for; nil if the key is not of
// this package.
func recordAt(key string) keyed {
	switch {
	case strings.HasPrefix(key, prefixRequest):
		return &Request{}
	case strings.HasPrefix(key, prefixGrant):
		return &Grant{}
	case strings.HasPrefix(key, prefixRevoked):
		return &Revocation{}
	case strings.HasPrefix(key, prefixFormer):
		return &Former{}
	case strings.HasPrefix(key, prefixReview):
		return &Review{}
	case strings.HasPrefix(key, prefixRow):
		return &Row{}
	case strings.HasPrefix(key, prefixArmed):
		return &armedCode{}
	case strings.HasPrefix(key, prefixKey):
		return &keyRecord{}
	}
	return nil
}
