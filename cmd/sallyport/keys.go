package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"sallyport/store"
)

// issuerKeys is the prefix of the keys that issuers published: issuer/ and the SHA-256 of the issuer.
const issuerKeys = "issuer/"

// keyStore keeps what issuers published in the store. It is an [oidc.KeyStore].
type keyStore struct{ store store.Store }

func issuerKey(issuer string) []byte {
	return fmt.Appendf(nil, "%s%x", issuerKeys, sha256.Sum256([]byte(issuer)))
}

// LoadKeys returns what was saved for an issuer, or nil.
func (k keyStore) LoadKeys(ctx context.Context, issuer string) (data []byte, err error) {
	err = k.store.View(ctx, func(r store.Reader) error {
		value, err := r.Get(issuerKey(issuer))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		data = slices.Clone(value)
		return err
	})
	return data, err
}

// SaveKeys returns once data is durable.
func (k keyStore) SaveKeys(ctx context.Context, issuer string, data []byte) error {
	_, err := k.store.Update(ctx, func(w store.Writer) error { return w.Put(issuerKey(issuer), data) })
	return err
}

// deleteIssuerKeys deletes what issuers published: in a copy that is restored, a key may have been withdrawn since.
func deleteIssuerKeys(w store.Writer) error { return store.DeleteAll(w, []byte(issuerKeys)) }
