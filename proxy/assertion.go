package proxy

import (
	"net/http"
	"sync"
	"time"

	"sallyport/directory"
	"sallyport/grant"
	"sallyport/proxy/internal/assertion"
	"sallyport/proxy/internal/canonical"
	"sallyport/proxy/internal/identity"
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
	signer *assertion.Signer

	mu    sync.Mutex // guards cache
	cache map[assertionKey]signed
}

type assertionKey struct {
	route *route
	host  string          // set if the route has many
	user  *directory.User // immutable: a user that changed is another *User
	held  *grant.Holdings // immutable too
	app   string          // set if an application calls for itself

	breakGlass bool
}

type signed struct {
	text    string
	headers http.Header // all identity headers, including the assertion; immutable
	made    time.Time
}

func newAssertions(sessions *session.Sessions) *assertions {
	return &assertions{signer: assertion.New(sessions), cache: map[assertionKey]signed{}}
}

// forCaller returns the assertion that c is calling on host, which r serves, a route of rt.
func (a *assertions) forCaller(rt *routing, c *caller, r *route, host string, now time.Time) signed {
	key := assertionKey{r, "", c.user, c.held, c.app(), c.session.IsBreakGlass()}
	if canonical.IsWildcard(r.host) {
		key.host = host
	}
	a.mu.Lock()
	cached, ok := a.cache[key]
	a.mu.Unlock()
	if age := now.Sub(cached.made); ok && age >= 0 && age < assertionReuse {
		return cached
	}
	claims := claimsOf(c, r, rt.public.String(), now)
	claims.Host = key.host // an application at one host must not call that at another with it
	fresh := signed{a.signer.Sign(claims), http.Header{}, now}
	r.setIdentity(fresh.headers, c)
	if name := r.headers.Assertion; name != "" {
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

func claimsOf(c *caller, r *route, issuer string, now time.Time) assertion.Claims {
	cl := assertion.Claims{Issuer: issuer, Audience: r.name, Groups: []string{}, Issued: now.Unix(), Before: now.Unix(), Expires: now.Add(assertionLifetime).Unix()}
	if cl.App = c.app(); cl.App != "" {
		cl.Subject, cl.UserName = identity.AppName(cl.App), identity.AppName(cl.App)
		return cl
	}
	u := c.user
	if groups := r.groupsOf(c); groups != nil {
		cl.Groups = groups
	}
	cl.Subject, cl.UserName, cl.Email, cl.Name = u.ID, u.UserName, u.Email, u.DisplayName
	cl.BreakGlass = c.session.IsBreakGlass()
	return cl
}
