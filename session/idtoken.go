package session

import (
	"context"
	"log/slog"

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
	maxIDToken     = 4 << 10 // bytes: it has to fit into a URL; a longer one is not kept
)

func idTokenKey(id string) []byte { return []byte(prefixIDToken + id) }

// putIDToken stores the ID token of a session that begins.
func (s *Sessions) putIDToken(w store.Writer, id string, token IDToken) error {
	if token == "" || len(token) > maxIDToken {
		return nil
	}
	sealed, err := s.Seal(idTokenPurpose, id, []byte(token), s.settings.Lifetime)
	if err != nil {
		return err
	}
	return w.Put(idTokenKey(id), []byte(sealed))
}

// IDToken returns the ID token of a session that has not ended; "" if there is none, or none that can be read. Without
// it signing out works too: the provider then asks the user.
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
