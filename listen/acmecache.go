package listen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"golang.org/x/crypto/acme/autocert"

	"sallyport/store"
)

// acmeKeys is the prefix of the store's keys of certificates, each with its private key, and of the account key. The
// URL of the authority follows, so that the certificates of one authority are never used for another.
const acmeKeys = "acme/"

// autocert ends the names of challenge responses with these suffixes.
const (
	httpTokenSuffix = "+http-01" // HTTP-01
	alpnTokenSuffix = "+token"   // TLS-ALPN-01
)

// certCache is the [autocert.Cache] of an acmeManager. It keeps certificates in the store. Challenge responses, which
// are needed for seconds, stay in memory, and are in the store only where replicas share it.
type certCache struct {
	store   store.Store
	shared  bool   // whether other processes use the store too
	prefix  string // of keys in the store
	log     *slog.Logger
	lookups chan struct{} // has an element for each lookup of a challenge in the store

	mu         sync.Mutex // guards challenges
	challenges map[string][]byte
}

func newCertCache(st store.Store, directory string, log *slog.Logger) *certCache {
	_, shared := st.(store.Leaser)
	return &certCache{store: st, shared: shared, prefix: acmeKeys + directory + "\x00", log: log, lookups: make(chan struct{}, challengeLookups), challenges: map[string][]byte{}}
}

func (c *certCache) key(name string) []byte { return []byte(c.prefix + name) }

func isChallenge(name string) bool {
	return strings.HasSuffix(name, httpTokenSuffix) || strings.HasSuffix(name, alpnTokenSuffix)
}

// Get returns the value of name. A damaged record is a cache miss: a new certificate, or account, replaces it.
func (c *certCache) Get(ctx context.Context, name string) (value []byte, err error) {
	if isChallenge(name) {
		return c.challenge(ctx, name)
	}
	err = c.store.View(ctx, func(r store.Reader) error {
		stored, err := r.Get(c.key(name))
		value = bytes.Clone(stored)
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, autocert.ErrCacheMiss
	case errors.Is(err, store.ErrDamaged):
		c.log.Error("a stored certificate is damaged and will be replaced", "name", name, "err", err)
		return nil, autocert.ErrCacheMiss
	case err != nil:
		return nil, fmt.Errorf("reading a stored certificate: %w", err)
	}
	return value, nil
}

// Put stores value under name.
func (c *certCache) Put(ctx context.Context, name string, value []byte) error {
	if isChallenge(name) {
		return c.putChallenge(ctx, name, value)
	}
	_, err := c.store.Update(ctx, func(w store.Writer) error { return w.Put(c.key(name), value) })
	if err != nil { // logged here, since autocert ignores the error and uses the certificate from memory
		c.log.Error("a certificate could not be stored; it will be ordered again after a restart", "name", name, "err", err)
		return fmt.Errorf("storing a certificate: %w", err)
	}
	return nil
}

// Delete removes name and its value.
func (c *certCache) Delete(ctx context.Context, name string) error {
	if isChallenge(name) {
		return c.deleteChallenge(ctx, name)
	}
	_, err := c.store.Update(ctx, func(w store.Writer) error { return w.Delete(c.key(name)) })
	return err
}

// Inspect reports whether a record of the store belongs to this package. A damaged one is replaced by a new order.
func Inspect(e store.Entry) (ours bool, err error) {
	return bytes.HasPrefix(e.Key, []byte(acmeKeys)), nil
}
