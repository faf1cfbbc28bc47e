// Package receipt makes the receipt of an offboarding out of the audit record: one signed document that says when one
// person was shut out, by whom, what that ended, and what was tried afterwards. It also makes the report over a time.
//
// A receipt says what the lines of the record say, and names each line that it rests on with its hash. What the record
// does not tell, a receipt does not either.
package receipt

import (
	"fmt"
	"strconv"
	"time"

	"sallyport/audit"
)

// Version is the version of the form of receipts.
const Version = 1

// How much of a kind is listed in a receipt. What is beyond is counted.
const (
	maxSessions = 1000
	maxCuts     = 1000
	maxChanges  = 100
	maxAttempts = 50  // lines; every kind of attempt is counted
	maxKinds    = 200 // kinds of attempts
)

// Receipt is what one offboarding was.
type Receipt struct {
	Version     int         `json:"version"`
	Made        time.Time   `json:"made"`
	MadeBy      audit.Actor `json:"made_by"`
	Program     string      `json:"program"`              // the version of Sallyport
	PublicURL   string      `json:"public_url,omitempty"` // of the installation
	Replicas    []Replica   `json:"replicas"`
	Person      Person      `json:"person"`
	Offboarding Change      `json:"offboarding"`
	Enforced    Enforced    `json:"enforced"`
	Everywhere  *Everywhere `json:"everywhere,omitzero"` // nil if one server has the store for itself, or if the record does not tell
	Sessions    []Session   `json:"sessions"`            // that ended with the person
	Cuts        []Cut       `json:"cuts"`                // live requests that were cut
	Attempts    Attempts    `json:"attempts"`            // what was tried afterwards, and denied
	Allowed     Attempts    `json:"allowed"`             // what was allowed all the same; there should be nothing
	Later       []Change    `json:"later"`               // what was changed about the person afterwards
	Gaps        []Gap       `json:"gaps"`                // times since then at which the record could not be written
	Still       Still       `json:"still"`
	Record      audit.Span  `json:"record"`

	Records []audit.Span `json:"records,omitzero"`  // of several replicas: where the record of each goes from and to; Record is the first
	NotRead []string     `json:"not_read,omitzero"` // replicas whose records were not read: what they cut or denied, the receipt does not tell
}

// Replica is a server whose record the receipt rests on.
type Replica struct {
	Name string `json:"name"`
}

// Person is whom a receipt is about.
type Person struct {
	ID         string `json:"id"` // the directory's
	UserName   string `json:"user_name,omitempty"`
	ExternalID string `json:"external_id,omitempty"`
}

// Ref is a line of the record.
type Ref struct {
	Line    uint64 `json:"line"`
	Hash    string `json:"hash"`
	Replica string `json:"replica,omitempty"` // whose record has the line, of several
}

// Where returns the number of the line, with the replica if there are several.
func (r Ref) Where() string {
	if r.Replica == "" {
		return strconv.FormatUint(r.Line, 10)
	}
	return fmt.Sprintf("%d of %s", r.Line, r.Replica)
}

// The changes that give and take access.
const (
	Deactivated = "deactivated"
	Deleted     = "deleted"
	Suspended   = "suspended"
	Activated   = "activated"
	Created     = "created"
	Unsuspended = "unsuspended"
)

// Change is a change that gave or took access.
type Change struct {
	What     string      `json:"what"`
	Actor    audit.Actor `json:"actor"`
	Received time.Time   `json:"received"`            // when the push arrived, or the operator acted
	Done     time.Time   `json:"done"`                // when the change was made: every request since then is decided by it
	Held     *time.Time  `json:"held_since,omitzero"` // since when an operator's decision was awaited
	Revision uint64      `json:"revision,omitempty"`  // of the directory
	Why      string      `json:"why,omitempty"`       // what the operator gave as the reason
	User     string      `json:"user,omitempty"`      // of another user with the same userName: the directory's id
	Ref
}

// Enforced says how long it took until nothing of the person's was left.
type Enforced struct {
	Sessions     int       `json:"sessions"` // that ended
	Cuts         int       `json:"cuts"`     // requests that were cut
	Last         time.Time `json:"last"`     // when the last request was cut, or else when the change was made
	Milliseconds int64     `json:"milliseconds"`
}

// Everywhere says when every replica that used the store had the change.
type Everywhere struct {
	Outcome      string    `json:"outcome"` // everywhere, fenced or unknown
	At           time.Time `json:"at"`      // from when on no replica decided without the change; of unknown, when that was given up
	Replicas     int       `json:"replicas"`
	Applied      int       `json:"applied"`          // that decided by the change then
	Fenced       string    `json:"fenced,omitempty"` // the names of those that decided nothing then
	Milliseconds int64     `json:"milliseconds"`     // since the change was made
	Text         string    `json:"text"`             // the same as a sentence
	Ref
}

// Session is a session that ended with its user.
type Session struct {
	ID    string    `json:"id"`
	Began time.Time `json:"began,omitzero"`
	Used  time.Time `json:"used,omitzero"` // last
	Ended time.Time `json:"ended"`         // when it was found to have ended; no request was let in by it since the change
	Login *Ref      `json:"login,omitempty"`
	Ref
}

// Cut is a live request that was cut.
type Cut struct {
	Request      string    `json:"request"`
	Route        string    `json:"route,omitempty"`
	Method       string    `json:"method,omitempty"`
	Host         string    `json:"host,omitempty"`
	Path         string    `json:"path,omitempty"`
	Address      string    `json:"address,omitempty"`
	Session      string    `json:"session,omitempty"`
	Reason       string    `json:"reason"`
	Begun        time.Time `json:"begun,omitzero"`
	Cut          time.Time `json:"cut"`
	Revision     uint64    `json:"revision,omitempty"` // of the change for which it was cut
	Milliseconds int64     `json:"milliseconds"`       // from the arrival of that change
	Ref
}

// Gap is a time at which the record could not be written: what happened then, it does not tell.
type Gap struct {
	Ended      time.Time `json:"ended"`
	Refused    int       `json:"refused,omitempty"`    // events that were refused, with what they tell of
	Unrecorded int       `json:"unrecorded,omitempty"` // requests and logins that were let in all the same
	Ref
}

// Attempts are logins and requests after an offboarding.
type Attempts struct {
	Count int           `json:"count"`
	First time.Time     `json:"first,omitzero"`
	Last  time.Time     `json:"last,omitzero"`
	Kinds []AttemptKind `json:"kinds"`
	Lines []Attempt     `json:"lines"` // the first
}

// AttemptKind counts attempts of one kind.
type AttemptKind struct {
	Kind   audit.Kind `json:"kind"`
	Route  string     `json:"route,omitempty"`
	Reason string     `json:"reason"`
	Count  int        `json:"count"`
	First  time.Time  `json:"first"`
	Last   time.Time  `json:"last"`
}

// Attempt is one attempt.
type Attempt struct {
	Time    time.Time  `json:"time"`
	Kind    audit.Kind `json:"kind"`
	Route   string     `json:"route,omitempty"`
	Reason  string     `json:"reason"`
	Address string     `json:"address,omitempty"`
	Request string     `json:"request,omitempty"`
	Ref
}

// The access that a person may still have.
const (
	AccessNone     = "none"
	AccessReturned = "returned"
	AccessUnknown  = "unknown"
)

// Still is what the person has when the receipt is made.
type Still struct {
	Access    string     `json:"access"`                       // none, returned, or unknown: the directory says otherwise than the record
	Since     *time.Time `json:"since,omitzero"`               // when access returned
	Directory string     `json:"directory"`                    // active, inactive, suspended, deleted or damaged
	Sessions  int        `json:"sessions"`                     // that are live
	Grants    int        `json:"grants"`                       // that are open
	Others    []string   `json:"users_with_the_name,omitzero"` // ids of other users who have the same userName now
}

// Refs returns every line that a receipt rests on.
func (r *Receipt) Refs() (refs []Ref) {
	refs = append(refs, r.Offboarding.Ref)
	if r.Everywhere != nil {
		refs = append(refs, r.Everywhere.Ref)
	}
	for _, s := range r.Sessions {
		refs = append(refs, s.Ref)
		if s.Login != nil {
			refs = append(refs, *s.Login)
		}
	}
	for _, c := range r.Cuts {
		refs = append(refs, c.Ref)
	}
	for _, a := range append(r.Attempts.Lines, r.Allowed.Lines...) {
		refs = append(refs, a.Ref)
	}
	for _, c := range r.Later {
		refs = append(refs, c.Ref)
	}
	for _, g := range r.Gaps {
		refs = append(refs, g.Ref)
	}
	refs = append(refs, spanRef(r.Record))
	for _, s := range r.Records {
		if s.Replica != r.Record.Replica {
			refs = append(refs, spanRef(s))
		}
	}
	return refs
}

func spanRef(s audit.Span) Ref { return Ref{s.Last, s.LastHash, s.Replica} }

// Sentence says in one line what the person has left.
func (s Still) Sentence() string {
	switch {
	case s.Access == AccessReturned:
		return fmt.Sprintf("got access back at %s, and is %s in the directory now", s.Since.UTC().Format(time.RFC3339), s.Directory)
	case s.Access == AccessUnknown:
		return fmt.Sprintf("is %s in the directory, which the record does not explain", s.Directory)
	case s.Sessions > 0 || s.Grants > 0:
		return fmt.Sprintf("has no access (%s), but %d sessions and %d grants are not closed", s.Directory, s.Sessions, s.Grants)
	}
	return fmt.Sprintf("has nothing: %s, no session, no grant", s.Directory)
}
