package oidc

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// KeyStore keeps what issuers publish over restarts, so that bearer tokens are accepted
// after a restart while an issuer cannot be reached.
type KeyStore interface {
	// LoadKeys returns what SaveKeys was called with last for an issuer; nil if it never was.
	LoadKeys(ctx context.Context, issuer string) ([]byte, error)
	// SaveKeys returns once data is durable.
	SaveKeys(ctx context.Context, issuer string, data []byte) error
}

const (
	maxSaved    = 256 << 10       // bytes; an issuer that publishes more is not saved
	saveTimeout = 5 * time.Second // then keys are used although they are not saved
)

// savedKeys is what an issuer published.
type savedKeys struct {
	Issuer  string            `json:"issuer"`
	Fetched time.Time         `json:"fetched"` // when the fetch began
	Keys    []jose.JSONWebKey `json:"keys"`
}

// KeepKeys makes the provider keep its keys, and those of bearer_issuers, in store. Call
// it before [Provider.Run]; it holds for those that take the place of p too.
//
// Keys from the store are used only while the issuer cannot be reached after a start,
// and until a day after they were fetched. Every fetch is saved before its keys are
// used, so that keys which the issuer has withdrawn since do not come back.
func (p *Provider) KeepKeys(store KeyStore) { p.keyStore = store }

// KeepKeys is [Provider.KeepKeys].
func (w *Workloads) KeepKeys(store KeyStore) { w.provider.KeepKeys(store) }

// loadSaved makes the keys in the store the ones to fall back on.
func (i *issuer) loadSaved(ctx context.Context) {
	if i.keyStore == nil {
		return
	}
	data, err := i.keyStore.LoadKeys(ctx, i.url)
	if err != nil {
		i.log.Error("saved keys of the identity provider not read", "err", err)
		return
	}
	if data == nil {
		return
	}
	byID, fetched, err := decodeSaved(data, i.url, time.Now())
	if err != nil {
		i.log.Error("saved keys of the identity provider not used", "err", err)
		return
	}
	i.keys.fallBackOn(byID, fetched)
}

func decodeSaved(data []byte, issuer string, now time.Time) (byID map[string][]jose.JSONWebKey, fetched time.Time, err error) {
	var s savedKeys
	if len(data) > maxSaved {
		return nil, fetched, fmt.Errorf("they have %d bytes", len(data))
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fetched, fmt.Errorf("reading them: %w", err)
	}
	switch {
	case s.Issuer != issuer:
		return nil, fetched, fmt.Errorf("they are those of %s", quoted(s.Issuer))
	case s.Fetched.After(now.Add(skew)):
		return nil, fetched, fmt.Errorf("they are from the future (%s); compare the clock", s.Fetched)
	}
	byID = map[string][]jose.JSONWebKey{}
	for _, key := range s.Keys[:min(len(s.Keys), maxKeys)] {
		if usable(key) {
			byID[key.KeyID] = append(byID[key.KeyID], key)
		}
	}
	return byID, s.Fetched, nil
}

// saveKeys saves what was fetched. If that fails, the error is logged: to accept no
// tokens at all would be worse. The keys that were saved before count for a day.
func (i *issuer) saveKeys(byID map[string][]jose.JSONWebKey, fetched time.Time) {
	if i.keyStore == nil {
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), saveTimeout)
	defer stop()
	data, err := encodeSaved(byID, i.url, fetched)
	if err == nil {
		err = i.keyStore.SaveKeys(ctx, i.url, data)
	}
	if err != nil {
		i.log.Error("keys of the identity provider not saved", "err", err)
	}
}

// encodeSaved encodes the keys without certificates and whatever else is published with
// them. Of an issuer that publishes too much it saves no key.
func encodeSaved(byID map[string][]jose.JSONWebKey, issuer string, fetched time.Time) ([]byte, error) {
	s := savedKeys{Issuer: issuer, Fetched: fetched.UTC(), Keys: []jose.JSONWebKey{}}
	for _, keys := range byID {
		for _, key := range keys {
			s.Keys = append(s.Keys, jose.JSONWebKey{Key: key.Key, KeyID: key.KeyID, Algorithm: key.Algorithm, Use: key.Use})
		}
	}
	data, err := json.Marshal(s)
	if len(data) > maxSaved {
		s.Keys = nil
		data, err = json.Marshal(s)
	}
	return data, err
}

// fallBackOn makes saved keys those that are used if the first fetch fails.
func (k *keys) fallBackOn(byID map[string][]jose.JSONWebKey, fetched time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.saved, k.savedAt = byID, fetched
}

// useSaved uses the saved keys if none were fetched since the start. It reports whether
// it does.
func (k *keys) useSaved() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fallBack()
}

// fallBack is useSaved with mu held.
func (k *keys) fallBack() bool {
	if !k.fetched.IsZero() || len(k.saved) == 0 || time.Since(k.savedAt) >= keysMaxAge {
		return false
	}
	k.byID, k.fetched, k.saved = k.saved, k.savedAt, nil
	return true
}
