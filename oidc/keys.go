package oidc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

const (
	refreshInterval    = 10 * time.Minute // a key that the provider withdrew is rejected after the next refresh
	minRefreshInterval = 30 * time.Second // however many unknown keys tokens name
	keysMaxAge         = 24 * time.Hour   // keys that could not be refreshed for so long are not used
)

// algorithms are the signature algorithms that we accept.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256}

// keys are the provider's public keys, by id. Only the document at its jwks_uri is
// ever fetched; tokens can cause at most one fetch in minRefreshInterval.
type keys struct {
	url    string
	client *http.Client
	count  func(result string)

	mu       sync.Mutex // guards the fields below
	byID     map[string][]jose.JSONWebKey
	fetched  time.Time     // when the fetch of byID began
	tried    time.Time     // when the last fetch began
	err      error         // of the last fetch
	inFlight chan struct{} // closed when the fetch under way ends; nil if there is none
}

// payload returns the payload of a token that one of the keys signed.
func (k *keys) payload(ctx context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, refuse(reasonOf(err), "the token is not a JWT signed by an allowed algorithm")
	}
	header := signed.Signatures[0].Header
	named, err := k.lookup(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	fitting := false
	for _, key := range named {
		if !isAllowedFor(key, header.Algorithm) {
			continue
		}
		fitting = true
		if payload, err := signed.Verify(key.Key); err == nil {
			return payload, nil
		}
	}
	if !fitting {
		return nil, refuse(AlgRefused, "the key that the token names must not be used with the token's algorithm")
	}
	return nil, refuse(BadSignature, "the signature was not made with the key that the token names")
}

func reasonOf(err error) Reason {
	if _, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); ok {
		return AlgRefused
	}
	return Malformed
}

// lookup returns the keys with an id, at least one. If the id is unknown, it fetches
// the keys again.
func (k *keys) lookup(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	if named := k.cached(id); named != nil {
		return named, nil
	}
	err := k.refresh(ctx)
	named := k.cached(id)
	switch {
	case named != nil:
		return named, nil
	case err != nil: // we cannot tell whether the key is a new one
		return nil, err
	}
	return nil, refuse(KeyUnknown, "the provider publishes no such key")
}

// cached returns the keys with an id that were fetched before; nil if there are none
// or they are too old.
func (k *keys) cached(id string) []jose.JSONWebKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fetched.IsZero() || time.Since(k.fetched) >= keysMaxAge {
		return nil
	}
	return k.byID[id]
}

// refresh fetches the keys, unless the last attempt began less than
// minRefreshInterval ago. It returns the error of the last attempt. Callers share a
// fetch that is under way; each waits for it until its ctx ends.
func (k *keys) refresh(ctx context.Context) error {
	k.mu.Lock()
	if k.inFlight == nil {
		if !k.tried.IsZero() && time.Since(k.tried) < minRefreshInterval {
			defer k.mu.Unlock()
			return k.err
		}
		k.tried, k.inFlight = time.Now(), make(chan struct{})
		go k.fetch(k.inFlight) // not bound to ctx, since others may wait for it too; requestTimeout bounds it
	}
	inFlight := k.inFlight
	k.mu.Unlock()
	select {
	case <-ctx.Done():
		return fmt.Errorf("waiting for the provider's keys: %w", ctx.Err())
	case <-inFlight:
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

func (k *keys) fetch(done chan struct{}) {
	byID, err := k.download()
	if err != nil {
		err = fmt.Errorf("fetching the provider's keys: %w", err)
		k.count("error")
	} else {
		k.count("ok")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err = err; err == nil {
		k.byID, k.fetched = byID, k.tried
	}
	k.inFlight = nil
	close(done)
}

// download fetches the key set; the client bounds it by requestTimeout and maxResponse
// and follows no redirects.
func (k *keys) download() (map[string][]jose.JSONWebKey, error) {
	resp, err := k.client.Get(k.url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s responded with %s", k.url, resp.Status)
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return readKeys(data)
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
