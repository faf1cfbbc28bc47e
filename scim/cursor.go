package scim

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

// cursorLifetime is how long a cursor is valid.
const cursorLifetime = time.Hour

// maxCursorLength bounds a cursor, in characters. It may hold the value that the results are sorted by.
const maxCursorLength = 16 << 10

// cursor is where a page begins in the results (RFC 9865 §2).
type cursor struct {
	after *position // the last result of the page before; nil: the page is the first
}

// last returns the last result of the page before; nil if the page is the first, or is not asked for by cursor.
func (c *cursor) last() *position {
	if c == nil {
		return nil
	}
	return c.after
}

// cursorContent is what the text of a cursor holds, encrypted. It is bound to the token and to the query, so that it is
// worthless to other clients and for other queries.
type cursorContent struct {
	position
	Expires int64 `json:"x"` // seconds since 1970
}

// openCursor sets the query's cursor to the one with this text; "" asks for the first page.
func (s *Server) openCursor(req *request, q *query, text string) error {
	q.cursor = &cursor{}
	if text == "" {
		return nil
	}
	content, err := s.decryptCursor(req, q, text)
	if err != nil {
		return err
	}
	if !req.received.Before(time.Unix(content.Expires, 0)) {
		return invalid("expiredCursor", "The cursor is older than %s; begin again without one.", cursorLifetime)
	}
	q.cursor.after = &content.position
	return nil
}

func (s *Server) decryptCursor(req *request, q *query, text string) (*cursorContent, error) {
	aead, err := s.cursorAEAD(req)
	if err != nil {
		return nil, err
	}
	wrong := invalid("invalidCursor", "The cursor belongs to another query or token; a page's parameters stay the same, only the cursor changes.")
	if len(text) > maxCursorLength {
		return nil, wrong
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, wrong
	}
	plain, err := aead.Open(nil, nil, data, q.associatedData())
	content := &cursorContent{}
	if err != nil || json.Unmarshal(plain, content) != nil {
		return nil, wrong
	}
	return content, nil
}

// nextCursor returns the text of the cursor for the page after p; "" if there is none.
func (s *Server) nextCursor(req *request, q *query, p *page) (string, error) {
	last := p.last()
	if last == nil {
		return "", nil
	}
	aead, err := s.cursorAEAD(req)
	if err != nil {
		return "", err
	}
	plain, err := json.Marshal(cursorContent{*last, req.received.Add(cursorLifetime).Unix()})
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nil, nil, plain, q.associatedData())), nil
}

// associatedData is what a cursor is bound to: the token and the query.
func (q *query) associatedData() []byte { return []byte(q.request.token.ID + "\x00" + q.identity) }

// cursorAEAD returns the cipher of cursors. Its key lives as long as the store.
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

// resumeFrom returns the ID from which the results of a subquery are read in the order of IDs.
func (q *query) resumeFrom(p *subquery) string {
	last := q.cursor.last()
	if last == nil || last.Index != p.index {
		return ""
	}
	return last.ID
}
