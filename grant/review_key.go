package grant

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"sallyport/store"
)

// ReviewKey signs exports of reviews. A copy of the store has its public half alone.
type ReviewKey struct {
	ID      string
	Made    time.Time
	Public  *ecdsa.PublicKey
	Private *ecdsa.PrivateKey // nil in a copy
}

// String keeps the key out of text.
func (ReviewKey) String() string { return "[secret]" }

// GoString keeps the key out of %#v.
func (ReviewKey) GoString() string { return "[secret]" }

// keyRecord is a key as stored.
type keyRecord struct {
	ID      string    `json:"id"`
	Made    time.Time `json:"made"`
	Public  []byte    `json:"public"`            // PKIX
	Private []byte    `json:"private,omitempty"` // PKCS #8
}

func (k *keyRecord) key() []byte { return []byte(prefixKey + k.ID) }

// ReviewKeys returns the keys that exports were and are signed with, the newest last: that
// one signs. It makes one if there is none.
func (g *Grants) ReviewKeys(ctx context.Context) (keys []ReviewKey, err error) {
	read := func(r store.Reader) error { keys, err = readKeys(r); return err }
	if err := g.store.View(ctx, read); err != nil || canSign(keys) {
		return keys, err
	}
	err = g.update(ctx, func(w store.Writer) error {
		if err := read(w); err != nil || canSign(keys) { // another was faster
			return err
		}
		made, err := newKey(time.Now().UTC())
		if err != nil {
			return err
		}
		if err := put(w, made); err != nil {
			return err
		}
		return read(w)
	})
	return keys, err
}

func canSign(keys []ReviewKey) bool { return len(keys) > 0 && keys[len(keys)-1].Private != nil }

func newKey(now time.Time) (*keyRecord, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key for exports of reviews: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("encoding a key for exports of reviews: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("encoding a key for exports of reviews: %w", err)
	}
	return &keyRecord{NewID(), now, public, secret}, nil
}

// readKeys leaves out keys that cannot be read.
func readKeys(r store.Reader) (keys []ReviewKey, err error) {
	for e, err := range r.Scan([]byte(prefixKey), nil) {
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return nil, err
		}
		if k, ok := readKey(e); ok && err == nil {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b ReviewKey) int { return a.Made.Compare(b.Made) })
	return keys, nil
}

func readKey(e store.Entry) (k ReviewKey, ok bool) {
	var record keyRecord
	if decode(e.Key, e.Value, &record) != nil {
		return k, false
	}
	public, err := x509.ParsePKIXPublicKey(record.Public)
	if err != nil {
		return k, false
	}
	k.ID, k.Made = record.ID, record.Made
	if k.Public, ok = public.(*ecdsa.PublicKey); !ok || len(record.Private) == 0 {
		return k, ok
	}
	private, err := x509.ParsePKCS8PrivateKey(record.Private)
	if err != nil {
		return k, false
	}
	k.Private, ok = private.(*ecdsa.PrivateKey)
	return k, ok && k.Private.PublicKey.Equal(k.Public)
}

// clearKeys removes the private keys from a copy of the store. What was signed with them
// can still be verified.
func clearKeys(w store.Writer) error {
	var records []keyRecord
	for e, err := range w.Scan([]byte(prefixKey), nil) {
		var k keyRecord
		if err == nil {
			err = decode(e.Key, e.Value, &k)
		}
		if err != nil { // what cannot be read may be a secret all the same
			k = keyRecord{ID: string(e.Key[len(prefixKey):])}
		}
		records = append(records, k)
	}
	for _, k := range records {
		k.Private = nil
		err := put(w, &k)
		if len(k.Public) == 0 {
			err = w.Delete(k.key())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
