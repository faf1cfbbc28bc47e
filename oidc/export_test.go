package oidc

import "net/http"

// Through makes the provider's requests go through next, for tests in which time
// is made up; the bound on answers stays.
func (p *Provider) Through(next http.RoundTripper) { p.client.Transport = careful{next} }

// UsableKeys is how many keys are taken of a key set.
func UsableKeys(data []byte) (n int, err error) {
	byID, err := readKeys(data)
	for _, keys := range byID {
		n += len(keys)
	}
	return n, err
}
