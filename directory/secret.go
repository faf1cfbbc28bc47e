package directory

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"sallyport/store"
)

// secretSize is 256 bits, in bytes.
const secretSize = 32

// Secret is 256 random bits that belong to this store, made when first asked for.
// Each purpose has its own.
func (d *Directory) Secret(ctx context.Context, purpose string) (secret []byte, err error) {
	key := textKey(secretKeys, purpose)
	read := func(tx *Tx) error {
		value, err := tx.r.Get(key)
		secret = slices.Clone(value)
		return err
	}
	err = d.View(ctx, read)
	if !errors.Is(err, store.ErrNotFound) {
		return secret, err
	}
	err = d.Update(ctx, func(tx *Tx) error {
		if err := read(tx); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		secret = make([]byte, secretSize)
		rand.Read(secret) // never fails
		return tx.w.Put(key, secret)
	})
	if err != nil {
		return nil, fmt.Errorf("making the secret of %s: %w", purpose, err)
	}
	return secret, nil
}
