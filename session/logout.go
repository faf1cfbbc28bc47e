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

// maxLogouts bounds how many logout tokens are remembered. Beyond it, those that expire first are forgotten.
const maxLogouts = 10_000

// logoutRecord is what the store keeps of a logout token that was used.
type logoutRecord struct {
	Expires time.Time `json:"expires"`
}

// UseLogout calls act, unless an earlier call acted on the logout token with this jti, and reports whether it did.
// Of calls at the same time one acts, and the others wait for its outcome. That the token was used is in the store until
// the token is no longer accepted, so that nobody acts on it after a restart. If act fails, the token counts as unused,
// and the provider may send it again.
func (s *Sessions) UseLogout(ctx context.Context, jti string, expires time.Time, act func(context.Context) error) (acted bool, err error) {
	_, err, _ = s.logouts.Do(jti, func() (any, error) {
		ctx := context.WithoutCancel(ctx) // others may wait for the outcome
		used, err := s.logoutUsed(ctx, jti)
		if used || err != nil {
			return nil, err
		}
		if err := s.CatchUp(ctx); err != nil { // or act does not know a session that another replica began
			return nil, err
		}
		if err := act(ctx); err != nil {
			return nil, err
		}
		acted, err = s.rememberLogout(ctx, jti, expires)
		return nil, err
	})
	return acted, err
}

// rememberLogout reports whether no other replica has acted on the token meanwhile. Both have then ended the same sessions.
func (s *Sessions) rememberLogout(ctx context.Context, jti string, expires time.Time) (first bool, err error) {
	err = s.update(ctx, func(w store.Writer) error {
		_, err := w.Get(logoutKey(jti))
		switch first = errors.Is(err, store.ErrNotFound); {
		case first:
		case errors.Is(err, store.ErrDamaged): // it was written once
			return nil
		default:
			return err
		}
		store.Urgent(w) // as was what the token asked for
		if err := boundLogouts(w); err != nil {
			return err
		}
		return putJSON(w, logoutKey(jti), logoutRecord{Expires: expires.UTC()})
	})
	if err != nil {
		return true, fmt.Errorf("remembering a logout token: %w", err)
	}
	return first, nil
}

func (s *Sessions) logoutUsed(ctx context.Context, jti string) (used bool, err error) {
	err = s.store.View(ctx, func(r store.Reader) error {
		switch _, err := r.Get(logoutKey(jti)); {
		case errors.Is(err, store.ErrNotFound):
			return nil
		case err != nil && !errors.Is(err, store.ErrDamaged): // a damaged record was written once
			return err
		}
		used = true
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("reading whether a logout token was used: %w", err)
	}
	return used, nil
}

// boundLogouts forgets a tenth of the logout tokens if one more would be too many: those that expire first.
func boundLogouts(w store.Writer) error {
	type stored struct {
		key     []byte
		expires time.Time // zero if the record is damaged
	}
	var all []stored
	for e, err := range w.Scan([]byte(prefixLogout), nil) {
		var l logoutRecord
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		if err == nil {
			_ = json.Unmarshal(e.Value, &l)
		}
		all = append(all, stored{slices.Clone(e.Key), l.Expires})
	}
	if len(all) < maxLogouts {
		return nil
	}
	slices.SortFunc(all, func(a, b stored) int { return a.expires.Compare(b.expires) })
	for _, l := range all[:maxLogouts/10] {
		if err := w.Delete(l.key); err != nil {
			return err
		}
	}
	return nil
}

// logoutKey returns the key of a logout token. The jti is the provider's, of any length and form.
func logoutKey(jti string) []byte {
	return fmt.Appendf(nil, "%s%x", prefixLogout, sha256.Sum256([]byte(jti)))
}
