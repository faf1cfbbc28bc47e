package admin

import (
	"context"

	"sallyport/grant"
)

// GrantState is whether a grant lets its person in.
type GrantState string

// The states of grants.
const (
	GrantOpen    GrantState = "open"
	GrantEnded   GrantState = "ended"   // by itself
	GrantRevoked GrantState = "revoked" // early
	GrantDead    GrantState = "dead"    // its person left or was suspended since, for ever
	GrantUnused  GrantState = "unused"  // the policy cannot be requested by the rules in force, so that its grants allow nothing
)

// Grant is a grant as operators and its person see it.
type Grant struct {
	grant.Grant
	State GrantState `json:"grant_state"`
	Route string     `json:"route,omitempty"` // that the person had asked for
}

// Grants returns the open grants, and with all also those that have ended and are stored, the newest first: an operator
// sees all, a user their own and those that they may revoke.
func (a *Admin) Grants(ctx context.Context, actor Actor, all bool) ([]Grant, error) { return nil, nil }

// RevokeGrant ends a grant at once. An operator may, its person, and those who could approve it.
func (a *Admin) RevokeGrant(ctx context.Context, actor Actor, id, why string) error {
	return ErrNoGrant
}
