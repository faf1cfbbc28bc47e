package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/directory"
)

const (
	assertionLifetime  = time.Minute      // how long an assertion is valid
	assertionReuse     = 30 * time.Second // how long one is used again for the same user and route
	signingKeyLifetime = 24 * time.Hour   // how long a key signs
	maxAssertions      = 10_000           // assertions remembered
)

// assertions signs who is calling, for upstreams that believe a signature and not a network (RFC 7519). Its keys
// live in memory alone: with each start there are new ones, which upstreams find under a new kid.
type assertions struct {
	keys atomic.Pointer[signingKeys]

	mu   sync.Mutex // guards made
	made map[assertionKey]assertion
}

// signingKeys are the key that signs and the one that did before, whose assertions may still be on their way.
type signingKeys struct {
	current, previous *signingKey
	since             time.Time
}

type signingKey struct {
	private *ecdsa.PrivateKey
	jwk     jwk
	header  string // of every JWT it signs, encoded
}

// jwk is RFC 7517's, for a P-256 key.
type jwk struct {
	KeyType   string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	Y         string `json:"y"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	ID        string `json:"kid"`
}

type assertionKey struct {
	route *route
	user  *directory.User // never changes once handed out; other facts are another *User
	app   string          // where no user calls
}

type assertion struct {
	text    string
	headers http.Header // all that say who is calling, the assertion among them; never altered
	made    time.Time
}

func newAssertions(now time.Time) (*assertions, error) {
	first, err := newSigningKey()
	if err != nil {
		return nil, err
	}
	a := &assertions{made: map[assertionKey]assertion{}}
	a.keys.Store(&signingKeys{current: first, since: now})
	return a, nil
}

func newSigningKey() (*signingKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key for assertions: %w", err)
	}
	point, err := private.PublicKey.Bytes() // 4 ‖ X ‖ Y (SEC 1 §2.3.3)
	if err != nil {
		return nil, fmt.Errorf("making a key for assertions: %w", err)
	}
	k := &signingKey{private: private, jwk: jwk{KeyType: "EC", Curve: "P-256", Use: "sig", Algorithm: "ES256",
		X: base64url(point[1:33]), Y: base64url(point[33:])}}
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, k.jwk.X, k.jwk.Y)) // RFC 7638
	k.jwk.ID = base64url(sum[:])
	k.header = base64url(fmt.Appendf(nil, `{"alg":"ES256","typ":"JWT","kid":%q}`, k.jwk.ID))
	return k, nil
}

// rotate takes a new key if the present one has signed for long enough.
func (a *assertions) rotate(now time.Time) {
	old := a.keys.Load()
	if now.Sub(old.since) < signingKeyLifetime {
		return
	}
	next, err := newSigningKey()
	if err != nil {
		return // the present one is as good; tried again in a second
	}
	a.keys.Store(&signingKeys{current: next, previous: old.current, since: now})
}

// jwks is the key set for /.sallyport/jwks.json (RFC 7517 §5).
func (a *assertions) jwks() []byte {
	keys := a.keys.Load()
	set := []jwk{keys.current.jwk}
	if keys.previous != nil {
		set = append(set, keys.previous.jwk)
	}
	text, err := json.Marshal(map[string][]jwk{"keys": set})
	if err != nil {
		panic(err) // strings alone
	}
	return text
}

// of is the assertion that c is calling on r, a route of t.
func (a *assertions) forCaller(rt *routing, c *caller, r *route, now time.Time) assertion {
	key := assertionKey{r, c.user, c.app()}
	a.mu.Lock()
	had, ok := a.made[key]
	a.mu.Unlock()
	if age := now.Sub(had.made); ok && age >= 0 && age < assertionReuse {
		return had
	}
	one := assertion{a.keys.Load().current.sign(claimsOf(c, r, rt.public.String(), now)), http.Header{}, now}
	rt.setIdentity(one.headers, r, c)
	if name := rt.headers.Assertion; name != "" {
		one.headers[name] = []string{one.text}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.made) >= maxAssertions {
		clear(a.made)
	}
	a.made[key] = one
	return one
}

// claims are what an upstream is told; the names are those of OpenID Connect Core §5.1.
type claims struct {
	Issuer   string   `json:"iss"`
	Audience string   `json:"aud"`
	Subject  string   `json:"sub"` // our id of the user: never another's, whatever is renamed
	UserName string   `json:"preferred_username"`
	Email    string   `json:"email,omitempty"`
	Name     string   `json:"name,omitempty"`
	Groups   []string `json:"groups"`
	App      string   `json:"app,omitempty"` // the client ID, where an application calls for itself
	Issued   int64    `json:"iat"`
	Before   int64    `json:"nbf"`
	Expires  int64    `json:"exp"`
}

func claimsOf(c *caller, r *route, issuer string, now time.Time) claims {
	told := claims{Issuer: issuer, Audience: r.name, Groups: []string{}, Issued: now.Unix(), Before: now.Unix(), Expires: now.Add(assertionLifetime).Unix()}
	if told.App = c.app(); told.App != "" {
		told.Subject, told.UserName = appName(told.App), appName(told.App)
		return told
	}
	u := c.user
	if groups := r.groupsOf(u); groups != nil {
		told.Groups = groups
	}
	told.Subject, told.UserName, told.Email, told.Name = u.ID, u.UserName, u.Email, u.DisplayName
	return told
}

// sign makes a JWT (RFC 7515 §7.1) with ES256 (RFC 7518 §3.4).
func (k *signingKey) sign(c claims) string {
	payload, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings and numbers alone
	}
	text := k.header + "." + base64url(payload)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, k.private, sum[:])
	if err != nil {
		panic(err) // a key of ours and a digest of the right length
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + base64url(signature[:])
}

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
