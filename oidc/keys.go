package oidc

import (
	"context"
	"encoding/json"
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

// algorithms are those we accept, by the kind of key that each needs (go-jose
// checks that key and algorithm fit).
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256}

var errNoKeys = errors.New("the provider's keys are not known")

// keys are the provider's public keys. Only the document at its jwks_uri is
// ever fetched, and no token can make that happen more than once in keysApart.
type keys struct {
	url    string
	client *http.Client
	count  func(result string)

	fetching sync.Mutex // held over a fetch

	mu      sync.RWMutex // guards what follows
	byID    map[string][]jose.JSONWebKey
	fetched time.Time // when byID was current
	tried   time.Time // when a fetch was last begun
}

// VerifySignature is the payload of a token that one of the keys signed.
func (k *keys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, refuse(reasonOf(err), "the token is not a JWT signed by an allowed algorithm")
	}
	if len(signed.Signatures) != 1 {
		return nil, refuse(Malformed, "the token does not have exactly one signature")
	}
	id := signed.Signatures[0].Header.KeyID
	found, err := k.find(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, key := range found {
		if payload, err := signed.Verify(key.Key); err == nil {
			return payload, nil
		}
	}
	if len(found) == 0 {
		return nil, refuse(KeyUnknown, "the provider publishes no such key")
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

// find gives the keys with an id, asking the provider anew for one it does not know.
func (k *keys) find(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	if found, fresh := k.look(id); fresh && len(found) > 0 {
		return found, nil
	}
	err := k.refresh(ctx)
	found, fresh := k.look(id)
	if !fresh {
		return nil, errors.Join(errNoKeys, err)
	}
	return found, nil
}

func (k *keys) look(id string) (found []jose.JSONWebKey, fresh bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.byID[id], !k.fetched.IsZero() && time.Since(k.fetched) < keysMaxAge
}

// refresh fetches the keys unless that was tried a moment ago. Who comes while a
// fetch is under way waits for it.
func (k *keys) refresh(ctx context.Context) error {
	k.fetching.Lock()
	defer k.fetching.Unlock()
	k.mu.Lock()
	soon := !k.tried.IsZero() && time.Since(k.tried) < keysApart
	if !soon {
		k.tried = time.Now()
	}
	k.mu.Unlock()
	if soon {
		return nil
	}
	byID, err := k.fetch(context.WithoutCancel(ctx))
	if err != nil {
		k.count("error")
		return fmt.Errorf("fetching the provider's keys: %w", err)
	}
	k.count("ok")
	k.mu.Lock()
	k.byID, k.fetched = byID, time.Now()
	k.mu.Unlock()
	return nil
}

// maxKeys bounds how many keys a provider may publish.
const maxKeys = 100

func (k *keys) fetch(ctx context.Context) (map[string][]jose.JSONWebKey, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := k.client.Do(req)
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

// readKeys takes the usable keys; one of a kind we do not know is passed over
// (RFC 7517 §5).
func readKeys(data []byte) (map[string][]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("reading the key set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has %d keys; at most %d are taken", len(set.Keys), maxKeys)
	}
	byID := map[string][]jose.JSONWebKey{}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && key.Valid() && key.IsPublic() && (key.Use == "" || key.Use == "sig") {
			byID[key.KeyID] = append(byID[key.KeyID], key)
		}
	}
	if len(byID) == 0 {
		return nil, errors.New("the key set has no usable key")
	}
	return byID, nil
}
