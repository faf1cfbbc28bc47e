package oidc

import (
	"errors"
	"fmt"
	"time"
)

// ErrRefused is every *Refusal: the caller is not who they say, or not provably.
var ErrRefused = errors.New("identity refused")

// Reason says why a proof was refused; the set is closed.
type Reason string

// The reasons of refusals.
const (
	Malformed     Reason = "malformed"      // not a signed JWT, or too large
	AlgRefused    Reason = "alg_refused"    // signed by an algorithm that is not allowed
	KeyUnknown    Reason = "key_unknown"    // signed by a key the provider does not publish
	BadSignature  Reason = "bad_signature"  // the signature is not of that key
	Expired       Reason = "expired"        // past its exp
	NotYetValid   Reason = "not_yet_valid"  // before its nbf or iat
	WrongIssuer   Reason = "wrong_issuer"   // from another issuer
	WrongType     Reason = "wrong_type"     // a JWT of another kind, such as a logout token
	WrongVersion  Reason = "wrong_version"  // a v1.0 token where v2.0 ones are expected
	WrongAudience Reason = "wrong_audience" // for somebody else
	WrongParty    Reason = "wrong_party"    // azp names another client
	WrongTenant   Reason = "wrong_tenant"   // of another tenant
	NotForAPIs    Reason = "not_for_apis"   // an ID token or one for Microsoft Graph, sent as an access token
	ClaimMissing  Reason = "claim_missing"  // does not say who the user is
	WrongNonce    Reason = "wrong_nonce"    // of another login
	WrongState    Reason = "wrong_state"    // the answer to another login
	LoginRefused  Reason = "login_refused"  // the provider said no
	TooOld        Reason = "too_old"        // a login longer ago than was asked for
	CodeRefused   Reason = "code_refused"   // the provider does not take the code
)

// Refusal is a proof that proves nothing. Detail is for the log; it quotes no token.
type Refusal struct {
	Reason Reason
	Detail string
}

func (r *Refusal) Error() string { return fmt.Sprintf("identity refused (%s): %s", r.Reason, r.Detail) }

// Is makes errors.Is(err, ErrRefused) hold.
func (r *Refusal) Is(target error) bool { return target == ErrRefused }

func refuse(reason Reason, detail string) error { return &Refusal{reason, detail} }

// Identity is who somebody has proved to be.
type Identity struct {
	Key             string // the value of user_claim, for the directory
	Issuer, Subject string
	Name, Email     string   // as the token has them: to show, never to decide by
	ProviderSession string   // sid
	Roles           []string // app roles
	App             string   // the application that calls, where no user does
	Issued          time.Time
	TimeKnown       bool      // Authenticated is the token's own auth_time
	Authenticated   time.Time // when the user last proved who they are, as far as known
	Expires         time.Time
}
