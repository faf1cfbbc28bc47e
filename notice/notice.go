// Package notice sees what webhooks are told of that nobody in this program does: people whom the identity provider, or an
// operator in its place, offboards, deactivations that are held, and certificates and tokens that are about to expire.
//
// Nothing waits for it, and what it tells is a hint: after a crash, an event that was about to be told is lost, and the
// audit record has what happened. However much happens at once, it tells a bounded number of events, so that they do not
// push others out of the queues of webhooks.
package notice

import (
	"time"

	"sallyport/admin"
	"sallyport/audit"
)

// The events that are told, each with the data that docs/webhooks.md describes.
const (
	UserOffboarded      = "user.offboarded"      // [Offboarded]
	DeactivationsHeld   = "deactivations.held"   // [Held]
	CertificateExpiring = "certificate.expiring" // [CertificateNotice]
	TokenExpiring       = "token.expiring"       //nolint:gosec // [TokenNotice]
)

// The causes of an offboarding.
const (
	Deactivated = "deactivated"
	Deleted     = "deleted"
)

// Offboarded tells of a user who was deactivated or deleted, and what became of what they had open.
type Offboarded struct {
	User     admin.NoticeUser `json:"user"`
	Cause    string           `json:"cause"` // Deactivated or Deleted
	Actor    audit.Actor      `json:"actor"`
	Received time.Time        `json:"received"`                        // when the push, or the operator's command, arrived
	Sessions int              `json:"sessionsEnded"`                   // that ended with the user
	Requests int              `json:"requestsCut"`                     // that were under way
	LastCut  *int64           `json:"millisecondsToLastCut,omitempty"` // from Received on; nil: nothing was cut
	More     int              `json:"more,omitempty"`                  // how many others were offboarded of whom no event of their own tells
}

// Held tells of deactivations that wait for an operator.
type Held struct {
	Users   []admin.NoticeUser `json:"users"`          // whose deactivations were held since the last event: the first of them
	More    int                `json:"more,omitempty"` // how many others there are
	Waiting int                `json:"waiting"`        // how many wait in all
	Since   time.Time          `json:"since"`          // when the first of Users was held
	Actor   audit.Actor        `json:"actor"`          // who asked for that one
}

// CertificateNotice tells of a certificate that is about to expire.
type CertificateNotice struct {
	Names   []string  `json:"names"`          // that it is for: the first of them
	More    int       `json:"more,omitempty"` // how many others there are
	Expires time.Time `json:"expires"`
	Days    int       `json:"days"`              // it expires within so many days
	Renewed bool      `json:"renewed,omitempty"` // Sallyport renews it by ACME, and should have done so
}

// TokenNotice tells of a provisioning token that is about to expire, with which the identity provider pushes.
type TokenNotice struct {
	Token   string    `json:"token"` // its id
	Name    string    `json:"name"`
	Expires time.Time `json:"expires"`
	Days    int       `json:"days"` // it expires within so many days
}

// maxNamed is how many names an event has at most.
const maxNamed = 20
