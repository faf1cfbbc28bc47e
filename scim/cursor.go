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
const cursorLifetime = time.Hour

// longestCursor bounds a cursor, in characters: it may hold the value that a list
// is sorted by.
const maxCursorLength = 16 << 10

// sealed is what a cursor holds. It is bound to the token and to the query, so
// that it is worth nothing to another and for another question (RFC 9865 §2).
type cursorContent struct {
	position
	Expires int64 `json:"x"` // seconds since 1970
}

// openCursor puts the query behind what the cursor tells of; "" is the beginning.
func (s *Server) openCursor(req *request, q *query, text string) error {
	q.cursor = &position{}
	if text == "" {
		return nil
	}
	var at cursorContent
	if err := s.decryptCursor(req, q, text, &at); err != nil {
		return err
	}
	if !req.received.Before(time.Unix(at.Expires, 0)) {
		return invalid("expiredCursor", "The cursor is older than %s; begin again without one.", cursorLifetime)
	}
	at.begun = true
	q.cursor = &at.position
	return nil
}

func (s *Server) decryptCursor(req *request, q *query, text string, at *cursorContent) error {
	aead, err := s.cursorAEAD(req)
	if err != nil {
		return err
	}
	wrong := invalid("invalidCursor", "The cursor belongs to another query or token; a page's parameters stay the same, only the cursor changes.")
	if len(text) > maxCursorLength {
		return wrong
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return wrong
	}
	plain, err := aead.Open(nil, nil, data, q.associatedData())
	if err != nil || json.Unmarshal(plain, at) != nil {
		return wrong
	}
	return nil
}

// nextCursor leads behind the page; "" where that was the last.
func (s *Server) nextCursor(req *request, q *query, p *page) (string, error) {
	at := p.last()
	if at == nil {
		return "", nil
	}
	aead, err := s.cursorAEAD(req)
	if err != nil {
		return "", err
	}
	plain, err := json.Marshal(cursorContent{*at, req.received.Add(cursorLifetime).Unix()})
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nil, nil, plain, q.associatedData())), nil
}

// bound is what a cursor is good for.
func (q *query) associatedData() []byte { return []byte(q.request.token.ID + "\x00" + q.text) }

// cursorLock seals cursors with a key that lives as long as the store.
func (s *Server) cursorAEAD(req *request) (cipher.AEAD, error) {
	secret, err := s.provisioning.secret(req.Context(), "cursor")
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
func (q *query) resumeFrom(p *subquery) string {
	if q.cursor == nil || !q.cursor.begun || q.cursor.Index != p.index {
		return ""
	}
	return q.cursor.ID
}
