package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sallyport/store"
)

const (
	tokenLength = 43 // characters of a token: 256 random bits in base64url without padding
	maxTokens   = 32 // tokens of one session on one host: tabs that log in at the same time each get one

	maxAllTokens = 500 // tokens of one session on all hosts: a route with a wildcard has as many as somebody asks for
)

// digest is the SHA-256 of a token's text. The store never holds more of it.
type digest [sha256.Size]byte

// NewToken makes a token that proves to host that a browser has the session: the value of its cookie there. Only the
// caller ever has its text; the store holds its SHA-256.
func (s *Sessions) NewToken(ctx context.Context, id, host string) (token string, err error) {
	token = newToken()
	err = s.update(ctx, func(w store.Writer) error {
		if _, err := s.checkIn(w, id); err != nil {
			return err
		}
		return s.putToken(w, id, host, token)
	})
	if err != nil {
		return "", fmt.Errorf("making a token of a session for %s: %w", host, err)
	}
	return token, nil
}

// putToken stores a token and deletes the oldest of that session on that host beyond maxTokens, and on all hosts beyond
// maxAllTokens.
func (s *Sessions) putToken(w store.Writer, id, host, token string) error {
	type stored struct {
		key  []byte
		made time.Time
	}
	var tokens, others []stored // of the host, and of other hosts
	for e, err := range w.Scan([]byte(prefixToken+id+"/"), nil) {
		var t tokenRecord
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		if err != nil || json.Unmarshal(e.Value, &t) != nil {
			continue
		}
		if one := (stored{slices.Clone(e.Key), t.Made}); t.Host == host {
			tokens = append(tokens, one)
		} else {
			others = append(others, one)
		}
	}
	older := func(a, b stored) int { return a.made.Compare(b.made) }
	slices.SortFunc(tokens, older)
	slices.SortFunc(others, older)
	for ; len(tokens) >= maxTokens; tokens = tokens[1:] {
		if err := w.Delete(tokens[0].key); err != nil {
			return err
		}
	}
	for ; len(others)+len(tokens) >= maxAllTokens; others = others[1:] {
		if err := w.Delete(others[0].key); err != nil {
			return err
		}
	}
	d, _ := digestOf(token)
	return putJSON(w, tokenKey(prefixToken, id, d), tokenRecord{Host: host, Made: s.clock.now()})
}

// newToken returns 256 random bits as text. crypto/rand never fails; it ends the program instead.
func newToken() string {
	var bits [32]byte
	rand.Read(bits[:])
	return base64.RawURLEncoding.EncodeToString(bits[:])
}

// newID returns the name of a session: 128 random bits in hex.
func newID() string {
	var bits [16]byte
	rand.Read(bits[:])
	return hex.EncodeToString(bits[:])
}

// isToken reports whether text has the form of a token: its exact length, base64url characters only.
func isToken(text string) bool {
	if len(text) != tokenLength {
		return false
	}
	for i := range len(text) {
		if !tokenByte(text[i]) {
			return false
		}
	}
	return true
}

// digestOf returns the digest of text if it has the form of a token.
func digestOf(text string) (digest, bool) {
	if !isToken(text) {
		return digest{}, false
	}
	var b [tokenLength]byte // on the stack, unlike a converted string
	copy(b[:], text)
	return sha256.Sum256(b[:]), true
}

func tokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}
