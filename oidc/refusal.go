package oidc

import (
	"errors"
	"fmt"
	"time"
)

// ErrRefused matches every [*Refusal]: the caller has not proved who they are.
var ErrRefused = errors.New("identity refused")

// ErrRejected means that the provider rejected us, not the caller: its registration of this service and our settings
// differ.
var ErrRejected = errors.New("the identity provider rejects this service")

// Reason is why a proof of identity was rejected; the set is closed.
type Reason string

// The reasons of refusals.
const (
	Malformed     Reason = "malformed"      // not a signed JWT, or too large
	AlgRefused    Reason = "alg_refused"    // signed by an algorithm that is not allowed
	KeyUnknown    Reason = "key_unknown"    // signed with a key that the provider does not publish
	BadSignature  Reason = "bad_signature"  // the signature was not made with that key
	Expired       Reason = "expired"        // past its exp
	NotYetValid   Reason = "not_yet_valid"  // before its nbf or iat
	WrongIssuer   Reason = "wrong_issuer"   // from another issuer
	WrongType     Reason = "wrong_type"     // a JWT of another type, such as a logout token
	WrongVersion  Reason = "wrong_version"  // a v1.0 token where v2.0 ones are expected
	WrongAudience Reason = "wrong_audience" // for another audience
	WrongParty    Reason = "wrong_party"    // azp names another client
	WrongTenant   Reason = "wrong_tenant"   // from another tenant
	NotForAPIs    Reason = "not_for_apis"   // an ID token or one for Microsoft Graph, sent as an access token
	ClaimMissing  Reason = "claim_missing"  // lacks a claim that is needed, such as user_claim
	WrongNonce    Reason = "wrong_nonce"    // belongs to another login
	WrongState    Reason = "wrong_state"    // the callback of another login
	LoginRefused  Reason = "login_refused"  // the provider denied the login
	TooOld        Reason = "too_old"        // the sign-in is older than max_age
	TooWeak       Reason = "too_weak"       // the user did not sign in as the rule demands
	CodeRefused   Reason = "code_refused"   // the provider rejects the code
)

// Refusal is the error for an invalid proof of identity. Detail is for the log; it
// quotes no token.
type Refusal struct {
	Reason Reason
	Detail string
}

func (r *Refusal) Error() string { return fmt.Sprintf("identity refused (%s): %s", r.Reason, r.Detail) }

// Is reports whether target is [ErrRefused].
func (r *Refusal) Is(target error) bool { return target == ErrRefused }

func refuse(reason Reason, detail string) error { return &Refusal{reason, detail} }

// Identity is a caller as the identity provider describes them.
type Identity struct {
	Key             string // the value of user_claim; finds the user in the directory
	Claim           string // the name of that claim
	Issuer, Subject string
	Name, Email     string   // for display only; decisions must not depend on them
	ProviderSession string   // sid
	Roles           []string // app roles
	Groups          Groups   // of a login; of bearer tokens only [Provider.TellOfGroups] tells, and they are not cached
	App             string   // client ID of an application that calls for itself; "" for a user
	Issued          time.Time
	TimeKnown       bool      // Authenticated is the auth_time of the token, not its iat
	Authenticated   time.Time // when the user last signed in, as far as known
	ACR             string    // how: acr
	AMR, Contexts   []string  // how: amr, and acrs of Entra
	Expires         time.Time
	IDToken         Secret // of a login alone: the token itself, for [Provider.LogoutURL]

	Basis string // of a login alone: that of the provider, see [Provider.Basis]

	// Of bearer tokens only.
	rules     string // of the provider that verified it
	keys      *keys  // of the issuer; one of them verified the token
	signature signature
	seen      time.Time // when the token was first verified here
	backdated bool      // the issuer dates iat back
}

// backdating is by how much Entra sets iat and nbf before the time of issue.
const backdating = 5 * time.Minute

// IssuedBefore reports whether a bearer token was issued before t, such as the time at
// which its user was deactivated.
//
// The rule: a token that we verified before t was issued before t, whatever it says.
// For any other, the time at which the provider issued it decides, to the second,
// because iat has whole seconds. That time is iat. Only for Entra it is five minutes
// after iat, because Entra dates every token back by that much; a token that we saw
// clearly earlier than that is not dated back, and its iat decides. A token without
// iat was issued before any t.
func (id *Identity) IssuedBefore(t time.Time) bool {
	issued := id.Issued
	if issued.IsZero() || id.seen.Before(t) {
		return true
	}
	if id.backdated && !id.seen.Before(issued.Add(backdating-skew)) {
		issued = issued.Add(backdating)
	}
	return issued.Before(t.Truncate(time.Second))
}
