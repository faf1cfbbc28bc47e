package session

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sallyport/store"
)

// logoutRecord is what the store keeps of a logout token that was used.
type logoutRecord struct {
	Expires time.Time `json:"expires"`
}

// LogoutUsed reports whether UseLogout was called for the logout token with this jti.
func (s *Sessions) LogoutUsed(ctx context.Context, jti string) (used bool, err error) {
	err = s.store.View(ctx, func(r store.Reader) error {
		used, err = logoutUsed(r, jti)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("reading whether a logout token was used: %w", err)
	}
	return used, nil
}

// UseLogout remembers the jti of a logout token until the token is no longer accepted, in the store, so that no replica
// acts on the token again.
func (s *Sessions) UseLogout(ctx context.Context, jti string, expires time.Time) error {
	err := s.update(ctx, func(w store.Writer) error { return putJSON(w, logoutKey(jti), logoutRecord{Expires: expires.UTC()}) })
	if err != nil {
		return fmt.Errorf("remembering a logout token: %w", err)
	}
	return nil
}

func logoutUsed(r store.Reader, jti string) (bool, error) {
	switch _, err := r.Get(logoutKey(jti)); {
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	case errors.Is(err, store.ErrDamaged): // it was written once
		return true, nil
	case err != nil:
		return false, err
	}
	return true, nil
}

// logoutKey returns the key of a logout token. The jti is the provider's, of any length and form.
func logoutKey(jti string) []byte {
	return fmt.Appendf(nil, "%s%x", prefixLogout, sha256.Sum256([]byte(jti)))
}

// sweepLogouts deletes the records of logout tokens that are no longer accepted.
func (s *Sessions) sweepLogouts(ctx context.Context) error {
	expired, err := s.expiredLogouts(ctx)
	if err != nil {
		return err
	}
	return inBatches(ctx, s, expired, func(w store.Writer, key []byte) error { return w.Delete(key) })
}

func (s *Sessions) expiredLogouts(ctx context.Context) (keys [][]byte, err error) {
	now := s.clock.now()
	err = s.store.View(ctx, func(r store.Reader) error {
		for e, err := range r.Scan([]byte(prefixLogout), nil) {
			if errors.Is(err, store.ErrDamaged) {
				continue // kept: it cannot be told when it expires
			}
			if err != nil {
				return err
			}
			var l logoutRecord
			if json.Unmarshal(e.Value, &l) == nil && !now.Before(l.Expires) {
				keys = append(keys, slices.Clone(e.Key))
			}
		}
		return nil
	})
	return keys, err
}
