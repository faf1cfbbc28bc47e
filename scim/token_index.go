package scim

import (
	"crypto/sha256"
	"encoding/json"
	"sync"

	"sallyport/store"
)

// tokenIndex is the tokens in memory, so that a request is authenticated without reading the store.
type tokenIndex struct {
	mu      sync.RWMutex // guards tokens and digests
	tokens  map[[32]byte]Token
	digests map[string][32]byte // by token ID
}

// byText returns the token with this text.
func (x *tokenIndex) byText(text string) (Token, bool) {
	if len(text) != tokenLength {
		return Token{}, false
	}
	digest := sha256.Sum256([]byte(text))
	x.mu.RLock()
	defer x.mu.RUnlock()
	t, ok := x.tokens[digest]
	return t, ok
}

// byID returns the token with this ID.
func (x *tokenIndex) byID(id string) (Token, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	digest, ok := x.digests[id]
	return x.tokens[digest], ok
}

// load replaces the index by the tokens in the store. A damaged token is left out: it authenticates no request.
func (x *tokenIndex) load(r store.Reader) {
	next := tokenIndex{tokens: map[[32]byte]Token{}, digests: map[string][32]byte{}}
	for t, err := range records[Token](r, tokenKeys) {
		if err == nil {
			next.put(t)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tokens, x.digests = next.tokens, next.digests
}

// apply puts one change of the store into the index. It reports whether a token changed.
func (x *tokenIndex) apply(change store.Change) (changed bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, write := range change.Writes {
		id, ok := idIn(write.Key, tokenKeys)
		if !ok {
			continue
		}
		changed = true
		x.remove(id)
		var t Token
		if !write.Deleted && json.Unmarshal(write.Value, &t) == nil {
			x.put(t)
		}
	}
	return changed
}

// put wants the lock held.
func (x *tokenIndex) put(t Token) {
	x.tokens[t.Digest], x.digests[t.ID] = t, t.Digest
}

// remove wants the lock held.
func (x *tokenIndex) remove(id string) {
	digest, ok := x.digests[id]
	if !ok {
		return
	}
	delete(x.digests, id)
	delete(x.tokens, digest)
}
