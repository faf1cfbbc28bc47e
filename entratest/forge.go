package entratest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"

	jose "github.com/go-jose/go-jose/v4"
)

// Unsigned returns a token with alg "none".
func (t *Tenant) Unsigned(c Claims) string {
	return encode(map[string]any{"alg": "none", "typ": "JWT", "kid": t.newest().id}) + "." + encode(c) + "."
}

// Confused returns a token that is signed by HS256 with the public key as the secret:
// the classic confusion of algorithms.
func (t *Tenant) Confused(c Claims) string {
	k := t.newest()
	der, err := x509.MarshalPKIXPublicKey(&k.key.PublicKey)
	if err != nil {
		panic(err)
	}
	text := encode(map[string]any{"alg": "HS256", "typ": "JWT", "kid": k.id}) + "." + encode(c)
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// Forged returns a token that is signed with another key under the id of the tenant's
// key, and has that other key in its header.
func (t *Tenant) Forged(c Claims) string {
	other := newKey()
	other.id = t.newest().id
	return other.sign(jose.RS256, c, map[string]any{"jwk": jose.JSONWebKey{Key: &other.key.PublicKey, KeyID: other.id}})
}

// Garbage returns a token that names a key and has random bytes for a signature, which
// costs an attacker nothing.
func Garbage(keyID string, c Claims) string {
	signature := make([]byte, 256)
	rand.Read(signature) // never fails
	return encode(map[string]any{"alg": "RS256", "typ": "JWT", "kid": keyID}) + "." + encode(c) + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func encode(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(data)
}
