package scim

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

// cursorLife is how long a cursor leads to the next page.
const cursorLife = time.Hour

// longestCursor bounds a cursor, in characters: it may hold the value that a list
// is sorted by.
const longestCursor = 16 << 10

// sealed is what a cursor holds. It is bound to the token and to the query, so
// that it is worth nothing to another and for another question (RFC 9865 §2).
type sealed struct {
	position
	Expires int64 `json:"x"` // seconds since 1970
}

// openCursor puts the query behind what the cursor tells of; "" is the beginning.
func (s *Server) openCursor(e *exchange, q *query, text string) error {
	q.cursor = &position{}
	if text == "" {
		return nil
	}
	var at sealed
	if err := s.unseal(e, q, text, &at); err != nil {
		return err
	}
	if !e.received.Before(time.Unix(at.Expires, 0)) {
		return invalid("expiredCursor", "The cursor is older than %s; begin again without one.", cursorLife)
	}
	at.begun = true
	q.cursor = &at.position
	return nil
}

func (s *Server) unseal(e *exchange, q *query, text string, at *sealed) error {
	lock, err := s.cursorLock(e)
	if err != nil {
		return err
	}
	wrong := invalid("invalidCursor", "The cursor belongs to another query or token; a page's parameters stay the same, only the cursor changes.")
	if len(text) > longestCursor {
		return wrong
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return wrong
	}
	plain, err := lock.Open(nil, nil, data, q.bound())
	if err != nil || json.Unmarshal(plain, at) != nil {
		return wrong
	}
	return nil
}

// nextCursor leads behind the page; "" where that was the last.
func (s *Server) nextCursor(e *exchange, q *query, p *page) (string, error) {
	at := p.last()
	if at == nil {
		return "", nil
	}
	lock, err := s.cursorLock(e)
	if err != nil {
		return "", err
	}
	plain, err := json.Marshal(sealed{*at, e.received.Add(cursorLife).Unix()})
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(lock.Seal(nil, nil, plain, q.bound())), nil
}

// bound is what a cursor is good for.
func (q *query) bound() []byte { return []byte(q.exchange.token.ID + "\x00" + q.text) }

// cursorLock seals cursors with a key that lives as long as the store.
func (s *Server) cursorLock(e *exchange) (cipher.AEAD, error) {
	secret, err := s.directory.Secret(e.Context(), "cursor")
	if err != nil {
		return nil, fmt.Errorf("finding the key of cursors: %w", err)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// resumeAt is the id from which a part is read in the order of ids.
func (q *query) resumeAt(p *part) string {
	if q.cursor == nil || !q.cursor.begun || q.cursor.Place != p.place {
		return ""
	}
	return q.cursor.ID
}
