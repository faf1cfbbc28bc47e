package scim

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"sallyport/directory"
)

// A token reads sallyport_scim_ and 43 characters of 256 random bits, then 6 of
// a checksum, by which scanners for leaked secrets know a real one.
const tokenPrefix = "sallyport_scim_"

const tokenLength = len(tokenPrefix) + 43 + 6 // characters

var tokenNamePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._ -]{0,62}$`)

// Mint makes a token that lives for ttl (0: for ever). secret is its text, which
// is nowhere kept.
func Mint(ctx context.Context, d *directory.Directory, name string, ttl time.Duration) (t directory.Token, secret string, err error) {
	if !tokenNamePattern.MatchString(name) {
		return t, "", fmt.Errorf("%q cannot be a token's name; write 1 to 63 letters, digits, dots, dashes, underscores and spaces", name)
	}
	if ttl < 0 {
		return t, "", fmt.Errorf("a token cannot live for %s; write a time such as 8760h, or 0 for ever", ttl)
	}
	secret = newSecret()
	err = d.Update(ctx, func(tx *directory.Tx) error {
		t = tokenOf(tx, name, secret, ttl)
		return tx.PutToken(&t)
	})
	if err != nil {
		return t, "", fmt.Errorf("keeping the token's digest: %w", err)
	}
	return t, secret, nil
}

func checksum(text string) string {
	sum := crc32.ChecksumIEEE([]byte(text))
	return base64.RawURLEncoding.EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}

// Rotate makes a token of the same name that lives for ttl (0: for ever). The one
// with this id lives on for overlap at most.
func Rotate(ctx context.Context, d *directory.Directory, id string, ttl, overlap time.Duration) (t directory.Token, secret string, err error) {
	if overlap < 0 || ttl < 0 {
		return t, "", errors.New("a token cannot live for less than no time; write times such as 8760h and 24h")
	}
	secret = newSecret()
	err = d.Update(ctx, func(tx *directory.Tx) error {
		old, err := tx.Token(id)
		if errors.Is(err, directory.ErrNotFound) {
			return noToken(id)
		}
		if err != nil {
			return err
		}
		if end := tx.Now().Add(overlap); old.Expires.IsZero() || old.Expires.After(end) {
			old.Expires = end
			if err := tx.PutToken(&old); err != nil {
				return err
			}
		}
		t = tokenOf(tx, old.Name, secret, ttl)
		return tx.PutToken(&t)
	})
	return t, secret, err
}

func newSecret() string {
	random := make([]byte, 32)
	rand.Read(random) // never fails
	secret := tokenPrefix + base64.RawURLEncoding.EncodeToString(random)
	return secret + checksum(secret)
}

func tokenOf(tx *directory.Tx, name, secret string, ttl time.Duration) directory.Token {
	t := directory.Token{Name: name, Digest: sha256.Sum256([]byte(secret))}
	if ttl > 0 {
		t.Expires = tx.Now().Add(ttl)
	}
	return t
}

func noToken(id string) error {
	return fmt.Errorf("no token has the id %q; `sallyport token list` shows them", id)
}

// List is every token.
func List(ctx context.Context, d *directory.Directory) (tokens []directory.Token, err error) {
	err = d.View(ctx, func(tx *directory.Tx) error {
		for t, err := range tx.Tokens() {
			if err != nil {
				return err
			}
			tokens = append(tokens, t)
		}
		return nil
	})
	return tokens, err
}

// Revoke makes the token with this id worthless; it returns once no request is
// let in by it any more.
func Revoke(ctx context.Context, d *directory.Directory, id string) error {
	err := d.Update(ctx, func(tx *directory.Tx) error { return tx.DeleteToken(id) })
	if errors.Is(err, directory.ErrNotFound) {
		return noToken(id)
	}
	return err
}

// Knows says whether a request brings a live token of ours. It costs a digest, and
// writes nothing down.
func (s *Server) Knows(r *http.Request) bool {
	secret, ok := bearer(r.Header)
	if !ok {
		return false
	}
	_, ok = s.validToken(secret, s.now())
	return ok
}

// Refuse answers with 429: too many requests without a good token came.
func (s *Server) Refuse(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "5")
	s.write(w, &request{Request: r}, nil, fail(http.StatusTooManyRequests, "", "Too many requests with a wrong token came from this address. Try again in a moment."))
}

// bearer is the text of the one bearer token in a header.
func bearer(h http.Header) (secret string, ok bool) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, secret, _ := strings.Cut(values[0], " ")
	return strings.TrimSpace(secret), strings.EqualFold(scheme, "Bearer")
}

// live finds the token of ours that secret is, if it is good now. The text is never
// compared: its digest is looked up.
func (s *Server) validToken(secret string, now time.Time) (directory.Token, bool) {
	if len(secret) != tokenLength {
		return directory.Token{}, false
	}
	t, ok := s.directory.Token(sha256.Sum256([]byte(secret)))
	return t, ok && !expired(t, now) && s.parentValid(t, now)
}

// authenticate finds the live token that the request brings: one of ours, or of
// scim.oauth's issuer.
func (s *Server) authenticate(req *request) error {
	refused := fail(http.StatusUnauthorized, "", "The secret token is missing, wrong, expired or revoked. Make one with `sallyport token create` and paste it into the provisioning settings.")
	secret, ok := bearer(req.Header)
	if !ok {
		return refused
	}
	if len(secret) != tokenLength || !strings.HasPrefix(secret, tokenPrefix) {
		ok, err := s.authenticateWorkload(req, secret)
		if err == nil && !ok {
			err = refused
		}
		return err
	}
	if req.token, ok = s.validToken(secret, req.received); !ok {
		req.token = directory.Token{}
		return refused
	}
	s.recordUse(req)
	return nil
}

// uses remembers when each token's last use was written down.
type lastUses struct {
	mu      *sync.Mutex // guards written
	written map[string]time.Time
}

func newLastUses() lastUses { return lastUses{new(sync.Mutex), map[string]time.Time{}} }

// touchEvery is how exact a token's last use is.
const useInterval = 10 * time.Minute

// touch writes the token's use down, rarely.
func (s *Server) recordUse(req *request) {
	s.used.mu.Lock()
	due := req.received.Sub(s.used.written[req.token.ID]) >= useInterval
	if due {
		s.used.written[req.token.ID] = req.received
	}
	s.used.mu.Unlock()
	if !due {
		return
	}
	err := s.directory.Update(req.Context(), func(tx *directory.Tx) error { return tx.TouchToken(req.token.ID, req.received) })
	if err != nil {
		s.log.Warn("a token's last use was not written down", "token", req.token.ID, "err", err)
	}
}
