package scim

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"regexp"
	"strings"
	"sync"
	"time"

	"sallyport/store"
)

// Token lets an identity provider push. Only the digest of its text is stored.
type Token struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Digest   [32]byte  `json:"digest"` // SHA-256 of the text
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"` // zero: never
	LastUsed time.Time `json:"lastUsed,omitzero"`
	Parent   string    `json:"parent,omitempty"` // what the token was exchanged for and expires with; "" for an operator's token

	Damaged bool `json:"-"` // its record cannot be read: it authenticates no request, and can be revoked
}

// expired reports whether the token has expired.
func (t Token) expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// The text of a token is tokenPrefix, 256 random bits in 43 characters, and a checksum in 6, by which scanners for
// leaked secrets recognize it.
const (
	tokenPrefix = "sallyport_scim_"
	tokenLength = len(tokenPrefix) + 43 + 6 // characters
)

var tokenNamePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._ -]{0,62}$`) })

// NewToken returns a token that expires after ttl (0: never), and its text, which is stored nowhere. The token is
// valid once [Provisioning.AddToken] or [Provisioning.RotateToken] has stored it.
func NewToken(name string, ttl time.Duration) (t Token, text string, err error) {
	if !tokenNamePattern().MatchString(name) {
		return t, "", fmt.Errorf("%q cannot be a token's name; write 1 to 63 letters, digits, dots, dashes, underscores and spaces", name)
	}
	if ttl < 0 {
		return t, "", fmt.Errorf("a token cannot live for %s; write a time such as 8760h, or 0 for ever", ttl)
	}
	t, text = newToken(name, ttl, time.Now().UTC())
	return t, text, nil
}

func newToken(name string, ttl time.Duration, now time.Time) (t Token, text string) {
	text = newTokenText()
	t = Token{ID: newID(), Name: name, Digest: sha256.Sum256([]byte(text)), Created: now}
	if ttl > 0 {
		t.Expires = now.Add(ttl)
	}
	return t, text
}

func newID() string {
	id := make([]byte, idSize)
	rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

func newTokenText() string {
	random := make([]byte, 32)
	rand.Read(random) // never fails
	text := tokenPrefix + base64.RawURLEncoding.EncodeToString(random)
	return text + checksum(text)
}

// isTokenText reports whether a text has the form of a token of ours.
func isTokenText(text string) bool {
	end := tokenLength - 6
	return len(text) == tokenLength && strings.HasPrefix(text, tokenPrefix) && text[end:] == checksum(text[:end])
}

func checksum(text string) string {
	sum := crc32.ChecksumIEEE([]byte(text))
	return base64.RawURLEncoding.EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}

// AddToken stores a token; when it returns, the token is valid.
func (p *Provisioning) AddToken(ctx context.Context, t Token) error {
	err := p.update(ctx, func(w store.Writer) error { return writeToken(w, t) })
	if err != nil {
		return fmt.Errorf("storing the token's digest: %w", err)
	}
	return nil
}

// RotateToken stores the successor of the token with this id, which expires after overlap at the latest.
func (p *Provisioning) RotateToken(ctx context.Context, id string, successor Token, overlap time.Duration) error {
	if overlap < 0 {
		return errors.New("a token cannot live for less than no time; write times such as 8760h and 24h")
	}
	return p.update(ctx, func(w store.Writer) error {
		old, ok, err := readToken(w, id)
		switch {
		case err != nil:
			return err
		case !ok:
			return unknownToken(id)
		}
		if end := time.Now().UTC().Add(overlap); old.Expires.IsZero() || old.Expires.After(end) {
			old.Expires = end
			if err := writeToken(w, old); err != nil {
				return err
			}
		}
		return writeToken(w, successor)
	})
}

// RevokeToken deletes the token with this id; when it returns, no request is accepted with the token any more.
func (p *Provisioning) RevokeToken(ctx context.Context, id string) error {
	return p.update(ctx, func(w store.Writer) error {
		_, ok, err := readToken(w, id)
		switch {
		case errors.Is(err, store.ErrDamaged):
		case err != nil:
			return err
		case !ok:
			return unknownToken(id)
		}
		store.Urgent(w)
		return deleteRecord(w, tokenKeys, id)
	})
}

// Token returns the token with this id.
func (p *Provisioning) Token(ctx context.Context, id string) (t Token, err error) {
	err = p.store.View(ctx, func(r store.Reader) (err error) {
		var ok bool
		if t, ok, err = readToken(r, id); err == nil && !ok {
			err = unknownToken(id)
		}
		return err
	})
	return t, err
}

// Tokens returns every token. Of a damaged one it returns the ID.
func (p *Provisioning) Tokens(ctx context.Context) (tokens []Token, err error) {
	err = p.store.View(ctx, func(r store.Reader) error {
		tokens = nil
		for e, err := range r.Scan([]byte(tokenKeys), nil) {
			if err != nil && !errors.Is(err, store.ErrDamaged) {
				return err
			}
			var t Token
			if id, _ := idIn(e.Key, tokenKeys); err != nil || json.Unmarshal(e.Value, &t) != nil || t.ID != id {
				t = Token{ID: id, Damaged: true}
			}
			tokens = append(tokens, t)
		}
		return nil
	})
	return tokens, err
}

func unknownToken(id string) error {
	return fmt.Errorf("no token has the id %q; `sallyport token list` shows them", id)
}

func readToken(r store.Reader, id string) (t Token, ok bool, err error) {
	return readRecord[Token](r, tokenKeys, id)
}

func writeToken(w store.Writer, t Token) error { return writeRecord(w, tokenKeys, t.ID, t) }
