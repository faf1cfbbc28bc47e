package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"sallyport/store"
)

// maxForms bounds how many forms of one user are remembered at once.
const maxForms = 200

// formRecord is what the store keeps of a form that was sent.
type formRecord struct {
	Expires time.Time `json:"expires"`
}

// UseForm remembers until expires, in the store, that a user sent the form with an id, so that no replica sends it again.
// It reports whether this was the first use. A user who sends very many has to wait until some expire.
func (s *Sessions) UseForm(ctx context.Context, user, id string, expires time.Time) (first bool, err error) {
	prefix := prefixForm + user + "/"
	key := fmt.Appendf(nil, "%s%x", prefix, sha256.Sum256([]byte(id)))
	err = s.update(ctx, func(w store.Writer) error {
		n := 0
		first = true
		for e, err := range w.Scan([]byte(prefix), nil) {
			if err != nil && !errors.Is(err, store.ErrDamaged) {
				return err
			}
			first = first && !bytes.Equal(e.Key, key) // a damaged record was written once
			n++
		}
		switch {
		case !first:
			return nil
		case n >= maxForms:
			return errors.New("too many forms of one user")
		}
		return putJSON(w, key, formRecord{Expires: expires.UTC()})
	})
	if err != nil {
		return false, fmt.Errorf("remembering a form: %w", err)
	}
	return first, nil
}

// Past returns the session that a cookie's value belonged to on host, if that session is no longer valid and still
// remembered. It proves nothing: use it only to tell whose session it was.
func (s *Sessions) Past(cookie, host string) (*Session, bool) {
	d, ok := digestOf(cookie)
	if !ok {
		return nil, false
	}
	s.mu.RLock()
	t, ok := s.memory.tokens[d]
	s.mu.RUnlock()
	if !ok || t.host != host {
		return nil, false
	}
	r := t.entry.record.Load()
	return &r.Session, s.check(t.entry, r, s.clock.now()) != nil
}
