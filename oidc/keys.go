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
	keysEvery  = 10 * time.Minute // between refreshes; a key that was withdrawn dies with the next
	keysApart  = 30 * time.Second // between fetches at the least, whatever keys tokens name
	keysMaxAge = 24 * time.Hour   // beyond it, keys that could not be refreshed count no more
)

// algorithms are those we accept.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256}

// keys are the provider's public keys, by id. Only the document at its jwks_uri
// is ever fetched, and no token can make that happen more than once in keysApart.
type keys struct {
	url    string
	client *http.Client
	count  func(result string)

	mu      sync.Mutex // guards what follows
	byID    map[string][]jose.JSONWebKey
	fetched time.Time     // when byID was current
	tried   time.Time     // when the last fetch began
	err     error         // of the last fetch
	flying  chan struct{} // closed at the end of the fetch under way; nil when there is none
}

// payload is what a token carries, once one of the keys is found to have signed it.
func (k *keys) payload(ctx context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, refuse(reasonOf(err), "the token is not a JWT signed by an allowed algorithm")
	}
	header := signed.Signatures[0].Header
	found, err := k.find(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	tried := false
	for _, key := range found {
		if !fits(key, header.Algorithm) {
			continue
		}
		tried = true
		if payload, err := signed.Verify(key.Key); err == nil {
			return payload, nil
		}
	}
	if !tried {
		return nil, refuse(AlgRefused, "the key that the token names is not for the token's algorithm")
	}
	return nil, refuse(BadSignature, "the signature is not of the key that the token names")
}

func reasonOf(err error) Reason {
	var unexpected *jose.ErrUnexpectedSignatureAlgorithm
	if errors.As(err, &unexpected) {
		return AlgRefused
	}
	return Malformed
}

// find gives the keys with an id, at least one, asking the provider anew for an
// id that it does not know.
func (k *keys) find(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	if found := k.look(id); found != nil {
		return found, nil
	}
	err := k.refresh(ctx)
	found := k.look(id)
	switch {
	case found != nil:
		return found, nil
	case err != nil: // the key may be a new one: we cannot tell
		return nil, err
	}
	return nil, refuse(KeyUnknown, "the provider publishes no such key")
}

// look is find from memory; nil where there is none or memory is too old.
func (k *keys) look(id string) []jose.JSONWebKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fetched.IsZero() || time.Since(k.fetched) >= keysMaxAge {
		return nil
	}
	return k.byID[id]
}

// refresh fetches the keys unless that was tried a moment ago; it gives the error
// of the last fetch. Who comes while a fetch is under way waits for it, no longer
// than ctx.
func (k *keys) refresh(ctx context.Context) error {
	k.mu.Lock()
	if k.flying == nil {
		if !k.tried.IsZero() && time.Since(k.tried) < keysApart {
			defer k.mu.Unlock()
			return k.err
		}
		k.tried, k.flying = time.Now(), make(chan struct{})
		go k.fetch(k.flying) // on behalf of all who wait: it outlives any one of them, though not askTimeout
	}
	flying := k.flying
	k.mu.Unlock()
	select {
	case <-ctx.Done():
		return fmt.Errorf("waiting for the provider's keys: %w", ctx.Err())
	case <-flying:
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

func (k *keys) fetch(done chan struct{}) {
	byID, err := k.ask()
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
	k.flying = nil
	close(done)
}

// ask is bounded by the client: askTimeout, answerSize, no redirects.
func (k *keys) ask() (map[string][]jose.JSONWebKey, error) {
	resp, err := k.client.Get(k.url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", k.url, resp.Status)
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return readKeys(data)
}
