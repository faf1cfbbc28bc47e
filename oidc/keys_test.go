package oidc_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	jose "github.com/go-jose/go-jose/v4"

	"sallyport/entratest"
	"sallyport/oidc"
)

// TestKeys_UnknownIDsCauseOneFetch: whatever key ids tokens name, the fetch at the
// start is followed by at most one more in thirty seconds, and nothing stays in memory
// (CVE-2025-59936, CVE-2026-49998).
func TestKeys_UnknownIDsCauseOneFetch(t *testing.T) {
	h := startFixture(t, nil)
	if _, got := h.bearer(h.accessToken()); got != "" {
		t.Fatal(got)
	}
	claims := h.entra.Claims(h.alice, audience)
	before, memory := h.entra.KeyFetches(), heap()
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			for n := range 1000 {
				if _, got := h.bearer(entratest.Garbage(fmt.Sprint(i, "-", n), claims)); got != oidc.KeyUnknown && got != unknown {
					t.Errorf("an unknown key gives %q", got)
				}
			}
		})
	}
	all.Wait()
	if n := h.entra.KeyFetches() - before; n > 1 {
		t.Errorf("the provider was asked %d times", n)
	}
	if grown := int64(heap()) - int64(memory); grown > 1<<20 {
		t.Errorf("memory grew by %d bytes", grown)
	}
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign signs raw text under the key id "k".
func sign(t testing.TB, algorithm jose.SignatureAlgorithm, key any, payload []byte) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func published(keys ...jose.JSONWebKey) override {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if isFor(r, keysPath) {
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: keys})
		}
		return isFor(r, keysPath)
	}
}

// withKeys returns a fixture whose issuer publishes these keys.
func withKeys(t testing.TB, keys ...jose.JSONWebKey) *fixture {
	h := newFixture(t)
	h.override(published(keys...))
	<-h.run()
	return h
}

// TestKeys_UseAndAlgorithm: a key is used as it was published, not as a token says
// (CVE-2026-44699, CVE-2026-23518, CVE-2025-24976).
func TestKeys_UseAndAlgorithm(t *testing.T) {
	strong, p256, p384 := rsaKey(t, 2048), ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384())
	other := jose.JSONWebKey{Key: &rsaKey(t, 2048).PublicKey, KeyID: "other"}
	k := func(key any, use, alg string) []jose.JSONWebKey {
		return []jose.JSONWebKey{{Key: key, KeyID: "k", Use: use, Algorithm: alg}, other}
	}
	for _, c := range []struct {
		name string
		keys []jose.JSONWebKey
		alg  jose.SignatureAlgorithm
		key  any
		want oidc.Reason
	}{
		{"RSA", k(&strong.PublicKey, "sig", ""), jose.RS256, strong, ""},
		{"RSA for RS256", k(&strong.PublicKey, "", "RS256"), jose.RS256, strong, ""},
		{"RSA for RS256, used by PS256", k(&strong.PublicKey, "", "RS256"), jose.PS256, strong, oidc.AlgRefused},
		{"RSA by RS512", k(&strong.PublicKey, "", ""), jose.RS512, strong, oidc.AlgRefused},
		{"RSA to encrypt by", k(&strong.PublicKey, "enc", ""), jose.RS256, strong, oidc.KeyUnknown},
		{"P-256", k(&p256.PublicKey, "sig", "ES256"), jose.ES256, p256, ""},
		{"P-384", k(&p384.PublicKey, "sig", ""), jose.ES384, p384, oidc.AlgRefused},
		{"P-256 named by a token of RSA", k(&p256.PublicKey, "", ""), jose.RS256, strong, oidc.AlgRefused},
		{"RSA named by a token of P-256", k(&strong.PublicKey, "", ""), jose.ES256, p256, oidc.AlgRefused},
		{"a private key", k(strong, "sig", ""), jose.RS256, strong, oidc.KeyUnknown},
		{"a shared secret", k([]byte("0123456789012345678901234567890123456789"), "", ""), jose.HS256, []byte("0123456789012345678901234567890123456789"), oidc.AlgRefused},
		{"two of one id", append(k(&p256.PublicKey, "", ""), k(&strong.PublicKey, "", "")...), jose.RS256, strong, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := withKeys(t, c.keys...)
			payload, _ := json.Marshal(h.entra.Claims(h.alice, audience))
			if _, got := h.bearer(sign(t, c.alg, c.key, payload)); got != c.want {
				t.Errorf("gives %q; want %q", got, c.want)
			}
		})
	}
}

// TestBearer_RejectsDuplicateClaims: parsers differ in whether the first or the last
// one counts.
func TestBearer_RejectsDuplicateClaims(t *testing.T) {
	key := rsaKey(t, 2048)
	h := withKeys(t, jose.JSONWebKey{Key: &key.PublicKey, KeyID: "k"})
	payload, _ := json.Marshal(h.entra.Claims(h.alice, audience))
	twice := strings.Replace(string(payload), "{", `{"oid":"carol",`, 1)
	if id, got := h.bearer(sign(t, jose.RS256, key, []byte(twice))); got != oidc.Malformed {
		t.Errorf("gives %+v, %q", id, got)
	}
}

// TestBearer_AcceptsOneSpelling: a token whose signature is right is rejected if a
// segment is not the canonical base64url of its bytes.
func TestBearer_AcceptsOneSpelling(t *testing.T) {
	rsaPrivate, ecPrivate := rsaKey(t, 2048), ecKey(t, elliptic.P256())
	for name, k := range map[string]struct {
		alg     jose.SignatureAlgorithm
		private crypto.Signer
	}{"RSA": {jose.RS256, rsaPrivate}, "EC": {jose.ES256, ecPrivate}} {
		h := withKeys(t, jose.JSONWebKey{Key: k.private.Public(), KeyID: "k"})
		payload, _ := json.Marshal(h.entra.Claims(h.alice, audience))
		for len(payload)%3 == 0 { // so that the last character of the segment has unused bits
			payload = append(payload, ' ')
		}
		good := sign(t, k.alg, k.private, payload)
		if _, got := h.bearer(good); got != "" {
			t.Fatalf("%s: a good token gives %q", name, got)
		}
		parts := strings.Split(good, ".")
		for spelling, token := range map[string]string{
			"unused bits in the signature": good[:len(good)-1] + sibling(good[len(good)-1]),
			"padding":                      good + "==",
			"a line break":                 good + "\n",
		} {
			if _, got := h.bearer(token); got != oidc.Malformed {
				t.Errorf("%s: %s gives %q", name, spelling, got)
			}
		}
		if k.alg == jose.RS256 { // signed over the odd spelling
			text := parts[0] + "." + parts[1][:len(parts[1])-1] + sibling(parts[1][len(parts[1])-1])
			sum := sha256.Sum256([]byte(text))
			signature, err := rsa.SignPKCS1v15(rand.Reader, rsaPrivate, crypto.SHA256, sum[:])
			if err != nil {
				t.Fatal(err)
			}
			if _, got := h.bearer(text + "." + base64.RawURLEncoding.EncodeToString(signature)); got != oidc.Malformed {
				t.Errorf("unused bits in the payload give %q", got)
			}
		}
	}
}

// sibling returns the character of base64url after c, which differs in its last bit
// when c is the canonical end of a segment.
func sibling(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)+1])
}

// TestKeys_UnusableSets: a key set that cannot be used is an error and no refusal.
func TestKeys_UnusableSets(t *testing.T) {
	many := make([]jose.JSONWebKey, 101)
	for i := range many {
		many[i] = jose.JSONWebKey{Key: &ecKey(t, elliptic.P256()).PublicKey, KeyID: fmt.Sprint(i)}
	}
	respond := func(status int, body string) override {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if isFor(r, keysPath) {
				w.WriteHeader(status)
				_, _ = w.Write([]byte(body))
			}
			return isFor(r, keysPath)
		}
	}
	for name, b := range map[string]override{
		"none":                published(),
		"none that is usable": published(jose.JSONWebKey{Key: []byte("secret"), KeyID: "x"}),
		"another curve":       published(jose.JSONWebKey{Key: &ecKey(t, elliptic.P384()).PublicKey, KeyID: "k"}),
		"a weak key":          respond(http.StatusOK, weakKey),
		"too many":            published(many...),
		"a page":              respond(http.StatusOK, "<html>"),
		"an error":            respond(http.StatusInternalServerError, `{"keys":[]}`),
		"good ones after a mebibyte": func(w http.ResponseWriter, r *http.Request) bool {
			if isFor(r, keysPath) {
				_, _ = w.Write([]byte(strings.Repeat(" ", 1<<20)))
			}
			return false
		},
		"another place's (CVE-2026-49478)": func(w http.ResponseWriter, r *http.Request) bool { return redirected(w, r, keysPath) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newFixture(t)
			h.override(b)
			<-h.run()
			if _, got := h.bearer(h.accessToken()); got != unknown {
				t.Errorf("gives %q", got)
			}
		})
	}
}

// weakKey is an RSA key of 1024 bits.
const weakKey = `{"keys":[{"kty":"RSA","kid":"k","e":"AQAB","n":"` +
	`4f5wg5l2hKsTeNem_V41fGnJm6gOdrj8ym3rFkEU_wT8RDtnSgFEZOQpHEgQ7JL38xUfU0Y3g6aYw9QT0hJ7mCpz9Er5qLaMXJwZxzHzAahlfA0icqabvJOMvQtzD6uQv6wPEyZtDTWiQi9AXwBpHssPnpYGIn20ZZuNlX2BrCl"}]}`

// redirected redirects a request for an endpoint to where the right response is.
func redirected(w http.ResponseWriter, r *http.Request, endpoint string) bool {
	if !isFor(r, endpoint) || r.URL.RawQuery == "there" {
		return false
	}
	http.Redirect(w, r, r.URL.Path+"?there", http.StatusFound)
	return true
}

func TestDiscovery_RejectsBadMetadata(t *testing.T) {
	change := func(name string, value any) func(*fixture) override {
		return func(h *fixture) override {
			return func(w http.ResponseWriter, r *http.Request) bool {
				return isFor(r, metadataPath) && h.rewrite(w, r, func(d map[string]any) { d[name] = value })
			}
		}
	}
	for name, b := range map[string]func(*fixture) override{
		"another issuer":         change("issuer", "https://evil.example.com"),
		"issuer with a slash":    func(h *fixture) override { return change("issuer", h.entra.Issuer()+"/")(h) },
		"keys over plain http":   change("jwks_uri", "http://login.example.com/keys"),
		"keys on this machine":   change("jwks_uri", "http://127.0.0.1/keys"),
		"keys in a file":         change("jwks_uri", "file:///etc/passwd"),
		"no keys":                change("jwks_uri", ""),
		"tokens over plain http": change("token_endpoint", "http://login.example.com/token"),
		"a script to authorize":  change("authorization_endpoint", "javascript:alert(1)"),
		"elsewhere": func(*fixture) override {
			return func(w http.ResponseWriter, r *http.Request) bool { return redirected(w, r, metadataPath) }
		},
		"without end, and no URL": change("jwks_uri", strings.Repeat("x", 2<<20)),
		"a long apology": func(*fixture) override {
			return func(w http.ResponseWriter, r *http.Request) bool {
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = w.Write([]byte(strings.Repeat("sorry ", 10_000)))
				return true
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFixture(t)
			h.override(b(h))
			failed := h.newProvider(failedText)
			h.start()
			<-failed
			if _, _, err := h.Begin(context.Background(), 0); reasonOf(err) != unknown {
				t.Errorf("a login begins: %v", err)
			}
			if len(h.log.String()) > 2000 {
				t.Errorf("the log repeats the whole response: %d bytes", len(h.log.String()))
			}
		})
	}
}

func TestDiscovery_DropsInsecureLogoutURL(t *testing.T) {
	h := newFixture(t)
	h.override(func(w http.ResponseWriter, r *http.Request) bool {
		return isFor(r, metadataPath) && h.rewrite(w, r, func(d map[string]any) { d["end_session_endpoint"] = "javascript:alert(1)" })
	})
	<-h.run()
	if to := h.LogoutURL(oidc.LogoutRequest{ReturnTo: login}); to != "" {
		t.Errorf("logout leads to %s", to)
	}
}

// TestDiscovery_UnknownBefore: before discovery, errors are no refusals.
func TestDiscovery_UnknownBefore(t *testing.T) {
	h := newFixture(t)
	h.newProvider(foundText)
	gone, stop := context.WithCancel(t.Context())
	stop() // a caller who waits no longer
	_, _, begin := h.Begin(gone, 0)
	_, finish := h.Finish(gone, oidc.Flow{}, nil)
	_, bearer := h.Bearer(gone, h.accessToken())
	for _, err := range []error{begin, finish, bearer} {
		if reasonOf(err) != unknown {
			t.Errorf("gives %v", err)
		}
	}
	if h.LogoutURL(oidc.LogoutRequest{ReturnTo: login}) != "" {
		t.Error("there is a logout URL")
	}
}

// FuzzKeySet: reading a key set never panics, and returns either keys or an error.
func FuzzKeySet(f *testing.F) {
	data, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: &rsaKey(f, 2048).PublicKey, KeyID: "a", Use: "sig"}, {Key: &ecKey(f, elliptic.P256()).PublicKey, KeyID: "b"}}})
	f.Add(data)
	f.Add([]byte(weakKey))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"RSA","n":"","e":""},null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, err := oidc.UsableKeys(data); (err == nil) != (n > 0) {
			t.Errorf("%d keys, %v", n, err)
		}
	})
}
