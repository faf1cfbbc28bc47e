package entratest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"

	jose "github.com/go-jose/go-jose/v4"
)

type signingKey struct {
	id  string
	key *rsa.PrivateKey
}

func newKey() signingKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // the system has no randomness: nothing can be tested
	}
	return signingKey{guid(), key}
}

// Rotate adds a new signing key; old keys stay published until [Tenant.Withdraw].
func (t *Tenant) Rotate() {
	k := newKey()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys = append(t.keys, k)
}

// Withdraw stops publishing every key but the newest.
func (t *Tenant) Withdraw() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys = t.keys[len(t.keys)-1:]
}

// KeyFetches returns how often the key set was requested.
func (t *Tenant) KeyFetches() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fetches
}

func (t *Tenant) newest() signingKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.keys[len(t.keys)-1]
}

// publish responds with the public keys, without alg, as Entra does.
func (t *Tenant) publish(w http.ResponseWriter, _ *http.Request) {
	t.mu.Lock()
	t.fetches++
	set := jose.JSONWebKeySet{}
	for _, k := range t.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: &k.key.PublicKey, KeyID: k.id, Use: "sig"})
	}
	t.mu.Unlock()
	writeJSON(w, http.StatusOK, set)
}

// Sign signs claims with the newest key by RS256. The members of header are added to
// the header, or replaced in it.
func (t *Tenant) Sign(c Claims, header map[string]any) string {
	return t.newest().sign(jose.RS256, c, header)
}

// SignPSS is Sign by PS256.
func (t *Tenant) SignPSS(c Claims) string { return t.newest().sign(jose.PS256, c, nil) }

func (k signingKey) sign(algorithm jose.SignatureAlgorithm, c Claims, header map[string]any) string {
	o := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", k.id)
	for name, value := range header {
		o = o.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: k.key}, o)
	if err != nil {
		panic(err) // cannot happen with a key from newKey
	}
	payload, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	signature, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	text, err := signature.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return text
}
