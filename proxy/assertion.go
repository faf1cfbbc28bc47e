package proxy

import (
	"crypto/ecdsa"
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
	"sallyport/session"
)

const (
	assertionLifetime = time.Minute
	assertionReuse    = 30 * time.Second // an assertion is sent again for the same user and route
	maxAssertions     = 10_000           // in the cache
)

// assertions signs who is calling, for upstreams that trust a signature rather than a network (RFC 7519). All replicas
// sign with the keys that the sessions' store has.
type assertions struct {
	sessions *session.Sessions
	last     atomic.Pointer[signingKey] // the key that signed last

	mu    sync.Mutex // guards cache
	cache map[assertionKey]assertion
}

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

type assertionKey struct {
	route *route
	user  *directory.User // immutable: a user that changed is another *User
	app   string          // set if an application calls for itself
}

type assertion struct {
	text    string
	headers http.Header // all identity headers, including the assertion; immutable
	made    time.Time
}

func newAssertions(sessions *session.Sessions) *assertions {
	return &assertions{sessions: sessions, cache: map[assertionKey]assertion{}}
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
func (a *assertions) current() *signingKey {
	source, _ := a.sessions.SigningKeys()
	if last := a.last.Load(); last != nil && last.source == source {
		return last
	}
	k := newSigningKey(source)
	a.last.Store(k)
	return k
}

// jwks returns the key set for /.sallyport/jwks.json (RFC 7517 §5).
func (a *assertions) jwks() []byte {
	_, published := a.sessions.SigningKeys()
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

// forCaller returns the assertion that c is calling on r, a route of rt.
func (a *assertions) forCaller(rt *routing, c *caller, r *route, now time.Time) assertion {
	key := assertionKey{r, c.user, c.app()}
	a.mu.Lock()
	cached, ok := a.cache[key]
	a.mu.Unlock()
	if age := now.Sub(cached.made); ok && age >= 0 && age < assertionReuse {
		return cached
	}
	fresh := assertion{a.current().sign(claimsOf(c, r, rt.public.String(), now)), http.Header{}, now}
	rt.setIdentity(fresh.headers, r, c)
	if name := rt.headers.Assertion; name != "" {
		fresh.headers[name] = []string{fresh.text}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.cache) >= maxAssertions {
		clear(a.cache)
	}
	a.cache[key] = fresh
	return fresh
}

// claims are the claims of an assertion, with the names of OpenID Connect Core §5.1.
type claims struct {
	Issuer   string   `json:"iss"`
	Audience string   `json:"aud"`
	Subject  string   `json:"sub"` // our id of the user, which is never given to another user
	UserName string   `json:"preferred_username"`
	Email    string   `json:"email,omitempty"`
	Name     string   `json:"name,omitempty"`
	Groups   []string `json:"groups"`
	App      string   `json:"app,omitempty"` // the client ID, if an application calls for itself
	Issued   int64    `json:"iat"`
	Before   int64    `json:"nbf"`
	Expires  int64    `json:"exp"`
}

func claimsOf(c *caller, r *route, issuer string, now time.Time) claims {
	cl := claims{Issuer: issuer, Audience: r.name, Groups: []string{}, Issued: now.Unix(), Before: now.Unix(), Expires: now.Add(assertionLifetime).Unix()}
	if cl.App = c.app(); cl.App != "" {
		cl.Subject, cl.UserName = appName(cl.App), appName(cl.App)
		return cl
	}
	u := c.user
	if groups := r.groupsOf(u); groups != nil {
		cl.Groups = groups
	}
	cl.Subject, cl.UserName, cl.Email, cl.Name = u.ID, u.UserName, u.Email, u.DisplayName
	return cl
}

// sign returns a JWT (RFC 7515 §7.1) with ES256 (RFC 7518 §3.4).
func (k *signingKey) sign(c claims) string {
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
