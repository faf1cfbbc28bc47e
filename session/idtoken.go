package session

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"sallyport/store"
)

// IDToken is the ID token of the login that began a session. The identity provider wants it back when the user signs
// out there (OpenID Connect RP-Initiated Logout 1.0 §2, id_token_hint). Printing an IDToken does not show it.
type IDToken string

const hiddenIDToken = "[secret]"

// String keeps the token out of text.
func (IDToken) String() string { return hiddenIDToken }

// GoString keeps the token out of %#v.
func (IDToken) GoString() string { return hiddenIDToken }

// LogValue keeps the token out of slog.
func (IDToken) LogValue() slog.Value { return slog.StringValue(hiddenIDToken) }

// An ID token has a record of its own, so that it takes no memory and ends with its session, and is sealed: a program
// or a service that trusts the same client may take it for a credential as long as it is fresh (docs/design/009).
const (
	prefixIDToken  = "session/hint/"
	idTokenPurpose = "id_token"
	maxIDToken     = 4 << 10          // bytes: it has to fit into a URL; a longer one is not kept
	idTokenGrace   = 10 * time.Minute // after its user signed out
)

func idTokenKey(id string) []byte { return []byte(prefixIDToken + id) }

// putIDToken stores the ID token of a session that begins.
func (s *Sessions) putIDToken(w store.Writer, id string, token IDToken) error {
	if token == "" || len(token) > maxIDToken {
		return nil
	}
	return s.sealIDToken(w, id, []byte(token), s.inForce.Load().Lifetime)
}

func (s *Sessions) sealIDToken(w store.Writer, id string, token []byte, ttl time.Duration) error {
	sealed, err := s.Seal(idTokenPurpose, id, token, ttl)
	if err != nil {
		return err
	}
	return w.Put(idTokenKey(id), []byte(sealed))
}

// shortenIDToken lets the ID token of a session be read for idTokenGrace only: its user has signed out here, and may go
// on to sign out at the provider.
func (s *Sessions) shortenIDToken(w store.Writer, id string) error {
	sealed, err := w.Get(idTokenKey(id))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err == nil:
		if token, err := s.Unseal(idTokenPurpose, id, string(sealed)); err == nil {
			return s.sealIDToken(w, id, token, idTokenGrace)
		}
	case !errors.Is(err, store.ErrDamaged):
		return err
	}
	return w.Delete(idTokenKey(id))
}

// IDToken returns the ID token of a session that has not ended, or whose user signed out no more than ten minutes ago; ""
// if there is none, or none that can be read. Without it signing out works too: the provider then asks the user.
func (s *Sessions) IDToken(ctx context.Context, id string) (token IDToken) {
	_ = s.store.View(ctx, func(r store.Reader) error {
		sealed, err := r.Get(idTokenKey(id))
		if err != nil {
			return err
		}
		plain, err := s.Unseal(idTokenPurpose, id, string(sealed))
		token = IDToken(plain)
		return err
	})
	return token
}
