package oidc

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"
)

// TestTokenCache_Bounded: the two maps hold at most maxCached tokens each, and a full
// newer map keeps its tokens as the older one.
func TestTokenCache_Bounded(t *testing.T) {
	var c tokenCache
	keys, now := time.Unix(1, 0), time.Unix(2, 0)
	digest := func(i int) [sha256.Size]byte {
		return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	}
	for i := range 2*maxCached + 1 {
		c.put(digest(i), cachedToken{identity: &Identity{Expires: now.Add(time.Hour)}, keys: keys})
	}
	if len(c.newer) != 1 || len(c.older) != maxCached {
		t.Errorf("the maps hold %d and %d tokens, want 1 and %d", len(c.newer), len(c.older), maxCached)
	}
	for i, want := range map[int]bool{0: false, maxCached - 1: false, maxCached: true, 2*maxCached - 1: true, 2 * maxCached: true} {
		if ok := c.get(digest(i), keys, now) != nil; ok != want {
			t.Errorf("token %d is cached: %t, want %t", i, ok, want)
		}
	}
}
