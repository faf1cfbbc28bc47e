package scim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"sallyport/store"
)

const secretSize = 32 // bytes: 256 bits

// secret returns the random key of a purpose. It is made when it is first asked for, and lives as long as the store.
func (p *Provisioning) secret(ctx context.Context, purpose string) (secret []byte, err error) {
	key := []byte(secretKeys + purpose)
	read := func(r store.Reader) error {
		value, err := r.Get(key)
		secret = slices.Clone(value)
		return err
	}
	err = p.store.View(ctx, read)
	if !errors.Is(err, store.ErrNotFound) {
		return secret, err
	}
	_, err = p.store.Update(ctx, func(w store.Writer) error {
		if err := read(w); !errors.Is(err, store.ErrNotFound) {
			return err // nil: another request made the key meanwhile
		}
		secret = make([]byte, secretSize)
		rand.Read(secret) // never fails
		return w.Put(key, secret)
	})
	if err != nil {
		return nil, fmt.Errorf("making the key of %s: %w", purpose, err)
	}
	return secret, nil
}
