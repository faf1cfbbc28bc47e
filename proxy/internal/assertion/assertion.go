// Package assertion signs who is calling, for upstreams that trust a signature rather than a network (RFC 7519).
//
// All replicas sign with the keys that the sessions' store has, so each can publish what the others sign with.
package assertion

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"sallyport/session"
)

// Signer signs assertions.
type Signer struct {
	sessions *session.Sessions
	last     atomic.Pointer[signingKey] // the key that signed last
}

// New returns a signer with the keys of sessions.
func New(sessions *session.Sessions) *Signer { return &Signer{sessions: sessions} }

// Sign returns a JWT of c, by the key that signs now.
func (s *Signer) Sign(c Claims) string { return s.current().sign(c) }

type signingKey struct {
	source *session.SigningKey
	jwk    jwk
	header string // the encoded header of every JWT that it signs
}

// jwk is a P-256 key in the form of RFC 7517.
type jwk struct {
	KeyType   string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	Y         string `json:"y"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	ID        string `json:"kid"`
}

func newSigningKey(source *session.SigningKey) *signingKey {
	point, err := source.Private.PublicKey.Bytes() // 4 ‖ X ‖ Y (SEC 1 §2.3.3)
	if err != nil {
		panic(err) // cannot happen: a key on P-256
	}
	k := &signingKey{source: source, jwk: jwk{KeyType: "EC", Curve: "P-256", Use: "sig", Algorithm: "ES256",
		X: base64url(point[1:33]), Y: base64url(point[33:])}}
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, k.jwk.X, k.jwk.Y)) // RFC 7638
	k.jwk.ID = base64url(sum[:])
	k.header = base64url(fmt.Appendf(nil, `{"alg":"ES256","typ":"JWT","kid":%q}`, k.jwk.ID))
	return k
}

// current returns the key that signs now.
func (s *Signer) current() *signingKey {
	source, _ := s.sessions.SigningKeys()
	if last := s.last.Load(); last != nil && last.source == source {
		return last
	}
	k := newSigningKey(source)
	s.last.Store(k)
	return k
}

// JWKS returns the key set for /.sallyport/jwks.json (RFC 7517 §5).
func (s *Signer) JWKS() []byte {
	_, published := s.sessions.SigningKeys()
	set := make([]jwk, len(published))
	for i, source := range published {
		set[i] = newSigningKey(source).jwk
	}
	text, err := json.Marshal(map[string][]jwk{"keys": set})
	if err != nil {
		panic(err) // cannot happen: there are only strings
	}
	return text
}

// Claims are the claims of an assertion, with the names of OpenID Connect Core §5.1.
type Claims struct {
	Issuer   string   `json:"iss"`
	Audience string   `json:"aud"`
	Host     string   `json:"host,omitempty"` // that was asked for, if many lead to the audience
	Subject  string   `json:"sub"`            // our id of the user, which is never given to another user
	UserName string   `json:"preferred_username"`
	Email    string   `json:"email,omitempty"`
	Name     string   `json:"name,omitempty"`
	Groups   []string `json:"groups"`
	App      string   `json:"app,omitempty"` // the client ID, if an application calls for itself

	BreakGlass bool `json:"break_glass,omitempty"` // the caller has a break-glass session, which began without a login

	Issued  int64 `json:"iat"`
	Before  int64 `json:"nbf"`
	Expires int64 `json:"exp"`
}

// sign returns a JWT (RFC 7515 §7.1) with ES256 (RFC 7518 §3.4).
func (k *signingKey) sign(c Claims) string {
	payload, err := json.Marshal(c)
	if err != nil {
		panic(err) // cannot happen: there are only strings and numbers
	}
	text := k.header + "." + base64url(payload)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, k.source.Private, sum[:])
	if err != nil {
		panic(err) // cannot happen: the key is ours and the digest has the right length
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + base64url(signature[:])
}

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
