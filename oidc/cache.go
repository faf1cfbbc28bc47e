package oidc

import (
	"crypto/sha256"
	"sync"
	"time"
)

// maxCached bounds each of the two maps of a tokenCache.
const maxCached = 8192

// tokenCache holds tokens that were verified before, by the digest of their whole
// text. An entry is valid until the token expires, and only while the keys that
// verified it are the current ones. Rejected tokens are not cached, so that only
// callers with valid tokens can fill the cache.
//
// When the newer map is full it becomes the older one, whose entries are dropped
// unless they were used in the meantime.
type tokenCache struct {
	mu           sync.Mutex // guards the maps
	newer, older map[[sha256.Size]byte]cachedToken
}

type cachedToken struct {
	identity *Identity // immutable
	keys     time.Time // when the keys that verified it were fetched
}

// get returns the identity of a token that the current keys verified, or nil.
func (c *tokenCache) get(token [sha256.Size]byte, keys, now time.Time) *Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.newer[token]
	if !ok {
		if t, ok = c.older[token]; ok {
			c.store(token, t)
		}
	}
	if !ok || keys.IsZero() || !t.keys.Equal(keys) || !now.Before(t.identity.Expires) {
		return nil
	}
	return t.identity
}

func (c *tokenCache) put(token [sha256.Size]byte, t cachedToken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.store(token, t)
}

// firstSeen returns when the token was first verified, as far back as the cache goes;
// now if it is not in the cache.
func (c *tokenCache) firstSeen(token [sha256.Size]byte, now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tokens := range []map[[sha256.Size]byte]cachedToken{c.newer, c.older} {
		if t, ok := tokens[token]; ok {
			return t.identity.seen
		}
	}
	return now
}

// store requires mu to be held.
func (c *tokenCache) store(token [sha256.Size]byte, t cachedToken) {
	if c.newer == nil || len(c.newer) >= maxCached {
		c.newer, c.older = make(map[[sha256.Size]byte]cachedToken), c.newer
	}
	c.newer[token] = t
}
