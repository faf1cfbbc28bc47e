package oidc

import (
	"net/http"
	"time"
)

// Through sends the provider's requests to next, for tests in fake time. The bound on
// responses stays.
func (p *Provider) Through(next http.RoundTripper) { p.client.Transport = limitedTransport{next} }

// UsableKeys returns the number of usable keys in a key set.
func UsableKeys(data []byte) (n int, err error) {
	byID, err := readKeys(data)
	for _, keys := range byID {
		n += len(keys)
	}
	return n, err
}

// FirstSeen returns when the token of an identity was first verified.
func FirstSeen(id *Identity) time.Time { return id.seen }
