package oidc

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

const (
	refreshInterval    = 10 * time.Minute // a key that the provider withdrew is rejected after the next refresh
	minRefreshInterval = 30 * time.Second // however many unknown keys tokens name; twice in it, see keys.startLookup
	keysMaxAge         = 24 * time.Hour   // keys that could not be refreshed for so long are not used
	maxMissing         = 100              // key ids that are remembered as missing
	maxKeyID           = 256              // bytes of a key id that may be that of a new key
)

// ErrNotLookedUp is returned for a token whose key may be new but cannot be looked up
// now, because tokens caused fetches a moment ago.
var ErrNotLookedUp = errors.New("the key that the token names is not known yet, and the provider's keys were fetched a moment ago")

// algorithms are the signature algorithms that we accept.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256}

// keys are the provider's public keys, by id. Only the document at its jwks_uri is
// ever fetched; tokens can cause at most two fetches in minRefreshInterval.
type keys struct {
	client    *http.Client
	count     func(result string)
	withdrawn func()                                                     // called when a key is no longer published
	save      func(byID map[string][]jose.JSONWebKey, fetched time.Time) // called with fetched keys before they are used; nil: they are not saved

	mu       sync.Mutex                   // guards the fields below
	url      string                       // "" before discovery
	saved    map[string][]jose.JSONWebKey // from before the start; used if the first fetch fails
	savedAt  time.Time                    // when the fetch of saved began
	byID     map[string][]jose.JSONWebKey
	fetched  time.Time       // when the fetch of byID began
	begun    int             // how many fetches have begun
	tried    time.Time       // when the last of them began
	extra    time.Time       // when the last fetch began that came less than minRefreshInterval after another
	asked    string          // the id for which the fetch under way began; "" if for none
	missing  map[string]bool // ids that byID lacks although it was fetched after a token named them
	err      error           // of the last fetch
	inFlight chan struct{}   // closed when the fetch under way ends; nil if there is none
}

// signature is the key and the algorithm that a token was verified with.
type signature struct {
	id, algorithm string
	key           any // *rsa.PublicKey or *ecdsa.PublicKey
}

// payload returns the payload of a token that one of the keys signed.
func (k *keys) payload(ctx context.Context, token string) ([]byte, signature, error) {
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, signature{}, refuse(reasonOf(err), "the token is not a JWT signed by an allowed algorithm")
	}
	header := signed.Signatures[0].Header
	named, err := k.lookup(ctx, header.KeyID)
	if err != nil {
		return nil, signature{}, err
	}
	fitting := false
	for _, key := range named {
		if !isAllowedFor(key, header.Algorithm) {
			continue
		}
		fitting = true
		if payload, err := signed.Verify(key.Key); err == nil {
			return payload, signature{header.KeyID, header.Algorithm, key.Key}, nil
		}
	}
	if !fitting {
		return nil, signature{}, refuse(AlgRefused, "the key that the token names must not be used with the token's algorithm")
	}
	return nil, signature{}, refuse(BadSignature, "the signature was not made with the key that the token names")
}

func reasonOf(err error) Reason {
	if _, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); ok {
		return AlgRefused
	}
	return Malformed
}

// check returns nil while the key of a signature is published for its algorithm. It
// reads memory only.
func (k *keys) check(by signature) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tooOld() {
		return errKeysTooOld
	}
	if !contains(k.byID[by.id], by) {
		return refuse(KeyUnknown, "the provider has withdrawn the key that signed the token")
	}
	return nil
}

// contains reports whether one of keys is that of a signature.
func contains(keys []jose.JSONWebKey, by signature) bool {
	for _, key := range keys {
		if isAllowedFor(key, by.algorithm) && isSameKey(key.Key, by.key) {
			return true
		}
	}
	return false
}

// isSameKey reports whether two keys, of which the second is a pointer, are the same. Until the keys are fetched again, even
// the pointers are; comparing all of an RSA key needs memory for two copies.
func isSameKey(key, pointer any) bool {
	if key == pointer {
		return true
	}
	published, ok := key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && published.Equal(pointer)
}

// lookup returns the keys with an id, at least one. If the id is unknown, it fetches
// the keys again. The id is refused if a fetch that began after the token came does
// not find it; if no such fetch can be made now, the error is no refusal.
func (k *keys) lookup(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	for before := k.fetches(); ; {
		if named := k.cached(id); named != nil {
			return named, nil
		}
		inFlight, err := k.startLookup(id, before)
		if err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, waitError(ctx)
		case <-inFlight:
		}
	}
}

// fetches returns how many fetches have begun.
func (k *keys) fetches() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.begun
}

// startLookup returns a channel that is closed when a fetch ends that may find a key
// with id, or an error if there is none to wait for; before is how many fetches had
// begun when the token came. Beside the fetches that are allowed once in
// minRefreshInterval, one more is allowed for an id that nobody asked for before, so
// that two rotations in a row stop nobody.
func (k *keys) startLookup(id string, before int) (inFlight chan struct{}, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	switch {
	case k.inFlight != nil:
	case k.begun > before: // a fetch that began after the token came has ended
		k.rememberMissing(id)
		return nil, k.missingError()
	case k.mayFetch(now):
		k.start(now, id)
	case k.err != nil || k.missing[id] || id == "" || len(id) > maxKeyID: // no provider has such ids
		return nil, k.missingError()
	case now.Sub(k.extra) >= minRefreshInterval:
		k.extra = now
		k.start(now, id)
	default:
		return nil, ErrNotLookedUp
	}
	return k.inFlight, nil
}

// rememberMissing remembers that the last fetch did not find id, if it succeeded. It
// requires mu to be held.
func (k *keys) rememberMissing(id string) {
	if k.err == nil && k.byID[id] == nil && len(id) <= maxKeyID && len(k.missing) < maxMissing {
		k.missing[id] = true
	}
}

// missingError is the error for a key that the last fetch did not find: a refusal, or
// the error of the fetch. It requires mu to be held.
func (k *keys) missingError() error {
	if k.err != nil { // we cannot tell whether the key is a new one
		return k.err
	}
	return refuse(KeyUnknown, "the provider publishes no such key")
}

// cached returns the keys with an id that were fetched before; nil if there are none
// or they are too old.
func (k *keys) cached(id string) []jose.JSONWebKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tooOld() {
		return nil
	}
	return k.byID[id]
}

// errKeysTooOld is returned when the keys could not be refreshed for keysMaxAge.
var errKeysTooOld = errors.New("the provider's keys could not be refreshed for a day")

// tooOld reports whether there are no keys that may be used. It requires mu to be held.
func (k *keys) tooOld() bool { return k.fetched.IsZero() || time.Since(k.fetched) >= keysMaxAge }

// refresh fetches the keys, unless the last attempt began less than
// minRefreshInterval ago. It returns the error of the last attempt. Callers share a
// fetch that is under way; each waits for it until its ctx ends.
func (k *keys) refresh(ctx context.Context) error {
	k.mu.Lock()
	if k.inFlight == nil {
		if !k.mayFetch(time.Now()) {
			defer k.mu.Unlock()
			return k.err
		}
		k.start(time.Now(), "")
	}
	inFlight := k.inFlight
	k.mu.Unlock()
	select {
	case <-ctx.Done():
		return waitError(ctx)
	case <-inFlight:
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

func waitError(ctx context.Context) error {
	return fmt.Errorf("waiting for the provider's keys: %w", ctx.Err())
}

// mayFetch reports whether the last fetch began long enough ago. It requires mu to be
// held.
func (k *keys) mayFetch(now time.Time) bool {
	return k.tried.IsZero() || now.Sub(k.tried) >= minRefreshInterval
}

// start starts a fetch, which is not bound to the context of a caller, since others
// may wait for it too; requestTimeout bounds it. A token named the key id asked, or it
// is "". It requires mu to be held.
func (k *keys) start(now time.Time, asked string) {
	k.begun++
	k.asked = asked
	k.tried, k.inFlight = now, make(chan struct{})
	go k.fetch(k.inFlight)
}

func (k *keys) fetch(done chan struct{}) {
	k.mu.Lock()
	url, begun := k.url, k.tried
	k.mu.Unlock()
	byID, err := k.download(url)
	if err == nil && k.save != nil {
		k.save(byID, begun)
	}
	if err != nil {
		err = fmt.Errorf("fetching the provider's keys: %w", err)
		k.count("error")
	} else {
		k.count("ok")
	}
	if k.store(byID, err) {
		k.withdrawn()
	}
	close(done)
}

// store stores the result of a fetch and reports whether a key is no longer published.
func (k *keys) store(byID map[string][]jose.JSONWebKey, err error) (withdrawn bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.inFlight = nil
	if k.err = err; err != nil {
		k.fallBack()
		return false
	}
	for id, old := range k.byID {
		for _, key := range old {
			withdrawn = withdrawn || !slices.ContainsFunc(byID[id], func(other jose.JSONWebKey) bool { return sameKey(key, other) })
		}
	}
	k.byID, k.fetched, k.missing = byID, k.tried, map[string]bool{}
	k.rememberMissing(k.asked)
	return withdrawn
}

// sameKey reports whether two published keys verify the same signatures.
func sameKey(a, b jose.JSONWebKey) bool {
	key, ok := a.Key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && a.Algorithm == b.Algorithm && key.Equal(b.Key)
}

// download fetches the key set; the client bounds it by requestTimeout and maxResponse
// and follows no redirects.
func (k *keys) download(url string) (map[string][]jose.JSONWebKey, error) {
	if url == "" {
		return nil, errNotDiscovered
	}
	resp, err := k.client.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s responded with %s", url, resp.Status)
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return readKeys(data)
}

// publishedAt makes url the one that the keys are fetched from.
func (k *keys) publishedAt(url string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.url = url
}

// current returns when the keys now in use were fetched; zero if they are too old.
func (k *keys) current() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.fetched) >= keysMaxAge {
		return time.Time{}
	}
	return k.fetched
}
