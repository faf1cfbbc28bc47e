package demo

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"time"
)

// assertion holds the claims of the JWT in which Sallyport asserts who the caller is.
// verifier checks it as every upstream should (RFC 7519, RFC 7518 §3.4): signature,
// issuer, audience, lifetime.
type assertion struct {
	Issuer   string   `json:"iss"`
	Audience audience `json:"aud"`
	Subject  string   `json:"sub"`
	Email    string   `json:"email"`
	Groups   []string `json:"groups"`
	Issued   int64    `json:"iat"`
	Expires  int64    `json:"exp"`
}

// audience is one string or several (RFC 7519 §4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(data []byte) error {
	var single string
	if json.Unmarshal(data, &single) == nil {
		*a = audience{single}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// verifier checks assertions with the keys that Sallyport publishes.
type verifier struct {
	client *http.Client
	keys   string // URL of the JWK set
	issuer string
	route  string // the expected audience
}

// verify returns the claims of a token, and an error if it is invalid. The claims are
// returned even then, so that a page can show them.
func (v *verifier) verify(ctx context.Context, token string) (assertion, error) {
	var a assertion
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return a, errors.New("it is not a JWT of three parts")
	}
	var head struct{ Alg, Kid string }
	if err := errors.Join(decodePart(parts[0], &head), decodePart(parts[1], &a)); err != nil {
		return a, err
	}
	if head.Alg != "ES256" {
		return a, fmt.Errorf("its algorithm is %q, want ES256", head.Alg)
	}
	key, err := v.key(ctx, head.Kid)
	if err != nil {
		return a, err
	}
	if !signed(key, parts[0]+"."+parts[1], parts[2]) {
		return a, errors.New("its signature was not made by Sallyport")
	}
	return a, v.check(a, time.Now())
}

func (v *verifier) check(a assertion, now time.Time) error {
	switch {
	case a.Issuer != v.issuer:
		return fmt.Errorf("its issuer is %q, want %q", a.Issuer, v.issuer)
	case len(a.Audience) != 1 || a.Audience[0] != v.route:
		return fmt.Errorf("it is meant for %q, want %q", a.Audience, v.route)
	case now.Unix() > a.Expires:
		return errors.New("it has expired")
	}
	return nil
}

func decodePart(part string, into any) error {
	data, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return fmt.Errorf("it is not base64url: %w", err)
	}
	return json.Unmarshal(data, into)
}

func signed(key *ecdsa.PublicKey, text, signature string) bool {
	sig, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || len(sig) != 64 {
		return false
	}
	sum := sha256.Sum256([]byte(text))
	return ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
}

// key fetches the keys of Sallyport and returns kid. A real upstream would cache them.
func (v *verifier) key(ctx context.Context, kid string) (*ecdsa.PublicKey, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.keys, nil)
	if err != nil {
		return nil, err
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetching Sallyport's keys: %w", err)
	}
	defer resp.Body.Close()
	var set struct{ Keys []jwk }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&set); err != nil {
		return nil, fmt.Errorf("reading Sallyport's keys at %s: %w", v.keys, err)
	}
	for _, k := range set.Keys {
		if k.Kid == kid {
			return k.public()
		}
	}
	return nil, fmt.Errorf("there is no key %q at %s", kid, v.keys)
}

// jwk is a P-256 public key (RFC 7518 §6.2).
type jwk struct{ Kty, Crv, Kid, X, Y string }

func (k jwk) public() (*ecdsa.PublicKey, error) {
	x, errX := base64.RawURLEncoding.DecodeString(k.X)
	y, errY := base64.RawURLEncoding.DecodeString(k.Y)
	if k.Kty != "EC" || k.Crv != "P-256" || errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
		return nil, fmt.Errorf("key %q is not a P-256 key", k.Kid)
	}
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), bytes.Join([][]byte{{4}, x, y}, nil))
}
