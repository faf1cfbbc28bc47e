package listen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
// are needed for seconds, stay in memory.
type certCache struct {
	store  store.Store
	prefix string // of keys in the store
	log    *slog.Logger

	mu         sync.Mutex // guards challenges
	challenges map[string][]byte
}

func newCertCache(st store.Store, directory string, log *slog.Logger) *certCache {
	return &certCache{store: st, prefix: acmeKeys + directory + "\x00", log: log, challenges: map[string][]byte{}}
}

func (c *certCache) key(name string) []byte { return []byte(c.prefix + name) }

func isChallenge(name string) bool {
	return strings.HasSuffix(name, httpTokenSuffix) || strings.HasSuffix(name, alpnTokenSuffix)
}

// Get returns the value of name. A damaged record is a cache miss: a new certificate, or account, replaces it.
func (c *certCache) Get(ctx context.Context, name string) (value []byte, err error) {
	if isChallenge(name) {
		return c.challenge(name)
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

func (c *certCache) challenge(name string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if value, ok := c.challenges[name]; ok {
		return value, nil
	}
	return nil, autocert.ErrCacheMiss
}

// Put stores value under name.
func (c *certCache) Put(ctx context.Context, name string, value []byte) error {
	if isChallenge(name) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.challenges[name] = slices.Clone(value)
		return nil
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
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.challenges, name)
		return nil
	}
	_, err := c.store.Update(ctx, func(w store.Writer) error { return w.Delete(c.key(name)) })
	return err
}

// Inspect reports whether a record of the store belongs to this package. A damaged one is replaced by a new order.
func Inspect(e store.Entry) (ours bool, err error) {
	return bytes.HasPrefix(e.Key, []byte(acmeKeys)), nil
}
