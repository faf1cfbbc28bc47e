package demo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

const issuer = "http://localhost:8080"

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// assert signs claims as Sallyport does.
func assert(t *testing.T, key any, alg jose.SignatureAlgorithm, kid string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", kid))
	if err != nil {
		t.Fatal(err)
	}
	payload, _ := json.Marshal(claims)
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := signed.CompactSerialize()
	return text
}

// newVerifier returns a verifier whose Sallyport publishes key as "a".
func newVerifier(t *testing.T, key *ecdsa.PrivateKey) *verifier {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "a", Algorithm: "ES256"}}})
	}))
	t.Cleanup(server.Close)
	return &verifier{client: server.Client(), keys: server.URL, issuer: issuer, route: "whoami"}
}

func TestAssertion_Verify(t *testing.T) {
	key, other := newKey(t), newKey(t)
	claims := func(alter func(map[string]any)) map[string]any {
		c := map[string]any{"iss": issuer, "aud": "whoami", "sub": "1", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix()}
		alter(c)
		return c
	}
	same := func(map[string]any) {}
	good := assert(t, key, jose.ES256, "a", claims(same))
	cases := map[string]struct{ token, problem string }{
		"valid":              {good, ""},
		"audience as a list": {assert(t, key, jose.ES256, "a", claims(func(c map[string]any) { c["aud"] = []string{"whoami"} })), ""},
		"none":               {"", "three parts"},
		"another key's":      {assert(t, other, jose.ES256, "a", claims(same)), "signature"},
		"an unknown key's":   {assert(t, key, jose.ES256, "b", claims(same)), "no key"},
		"another algorithm":  {assert(t, []byte(strings.Repeat("k", 32)), jose.HS256, "a", claims(same)), "algorithm"},
		"another issuer's":   {assert(t, key, jose.ES256, "a", claims(func(c map[string]any) { c["iss"] = "http://evil" })), "issuer"},
		"another route's":    {assert(t, key, jose.ES256, "a", claims(func(c map[string]any) { c["aud"] = "orders" })), "meant for"},
		"two routes'":        {assert(t, key, jose.ES256, "a", claims(func(c map[string]any) { c["aud"] = []string{"whoami", "orders"} })), "meant for"},
		"expired":            {assert(t, key, jose.ES256, "a", claims(func(c map[string]any) { c["exp"] = time.Now().Add(-time.Minute).Unix() })), "expired"},
		"cut short":          {good[:len(good)-4], "signature"},
	}
	v := newVerifier(t, key)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := v.verify(t.Context(), c.token)
			switch {
			case c.problem == "" && err != nil:
				t.Errorf("rejected: %v", err)
			case c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)):
				t.Errorf("want an error about its %s, got %v", c.problem, err)
			}
		})
	}
}

func FuzzAssertion(f *testing.F) {
	f.Add("")
	f.Add("a.b.c")
	f.Add("e30.e30.")
	f.Add("eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.e30.AAAA")
	v := &verifier{client: &http.Client{Transport: noKeys{}}, keys: "http://sallyport", issuer: issuer, route: "whoami"}
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := v.verify(t.Context(), token); err == nil {
			t.Errorf("%q is accepted though nobody signed it", token)
		}
	})
}

type noKeys struct{}

func (noKeys) RoundTrip(*http.Request) (*http.Response, error) { return nil, http.ErrServerClosed }
