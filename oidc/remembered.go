package oidc

import (
	"crypto/sha256"
	"sync"
	"time"
)

// rememberedMost bounds each of the two halves of remembered.
const rememberedMost = 8192

// remembered is tokens that were verified a while ago, by the digest of their whole
// text. A token is good as long as it says and the keys that it was verified with
// are the current ones. Nothing is remembered of tokens that were refused, so
// nobody without a good one can fill it.
//
// It is in two halves: when the young one is full it becomes the old one, and
// what nobody asked for meanwhile is forgotten.
type remembered struct {
	mu         sync.Mutex // guards what follows
	young, old map[[sha256.Size]byte]memory
}

// memory is one verified token.
type memory struct {
	identity Identity
	keys     time.Time // when the keys were fetched that verified it
}

func (r *remembered) find(token [sha256.Size]byte, keys, now time.Time) (Identity, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.young[token]
	if !ok {
		if m, ok = r.old[token]; ok {
			r.put(token, m)
		}
	}
	if !ok || keys.IsZero() || !m.keys.Equal(keys) || !now.Before(m.identity.Expires) {
		return Identity{}, false
	}
	return m.identity, true
}

func (r *remembered) keep(token [sha256.Size]byte, m memory) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(token, m)
}

// put wants the lock held.
func (r *remembered) put(token [sha256.Size]byte, m memory) {
	if r.young == nil || len(r.young) >= rememberedMost {
		r.young, r.old = make(map[[sha256.Size]byte]memory), r.young
	}
	r.young[token] = m
}

// current is when the keys were fetched that count now; zero if none do.
func (k *keys) current() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.fetched) >= keysMaxAge {
		return time.Time{}
	}
	return k.fetched
}
