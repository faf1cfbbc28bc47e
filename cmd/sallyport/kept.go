package main

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

// certificateKeys begin the keys of certificates in the store, each with its
// private key, and that of the key of our account with the authority. The URL of
// the authority comes next: what one has given is not taken for another's.
const certificateKeys = "acme/"

const (
	tokenMark     = "+http-01" // ends the names of what answers HTTP-01
	tokenCertMark = "+token"   // and TLS-ALPN-01
)

// keptCertificates keep what the authority gives in the store. What only answers
// its questions is over in seconds, and stays in memory.
type keptCertificates struct {
	store  store.Store
	prefix string // of keys
	log    *slog.Logger

	mu      sync.Mutex // guards passing
	passing map[string][]byte
}

func newKeptCertificates(st store.Store, authority string, log *slog.Logger) *keptCertificates {
	return &keptCertificates{store: st, prefix: certificateKeys + authority + "\x00", log: log, passing: map[string][]byte{}}
}

func (k *keptCertificates) key(name string) []byte { return []byte(k.prefix + name) }

func passes(name string) bool {
	return strings.HasSuffix(name, tokenMark) || strings.HasSuffix(name, tokenCertMark)
}

// Get is what was put under name. A record that is damaged counts as none: another
// certificate, or account, takes its place.
func (k *keptCertificates) Get(ctx context.Context, name string) (value []byte, err error) {
	if passes(name) {
		return k.inMemory(name)
	}
	err = k.store.View(ctx, func(r store.Reader) error {
		found, err := r.Get(k.key(name))
		value = bytes.Clone(found)
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, autocert.ErrCacheMiss
	case errors.Is(err, store.ErrDamaged):
		k.log.Error("a kept certificate is damaged, and is replaced", "name", name, "err", err)
		return nil, autocert.ErrCacheMiss
	case err != nil:
		return nil, fmt.Errorf("reading a kept certificate: %w", err)
	}
	return value, nil
}

func (k *keptCertificates) inMemory(name string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if value, ok := k.passing[name]; ok {
		return value, nil
	}
	return nil, autocert.ErrCacheMiss
}

// Put keeps value under name.
func (k *keptCertificates) Put(ctx context.Context, name string, value []byte) error {
	if passes(name) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.passing[name] = slices.Clone(value)
		return nil
	}
	_, err := k.store.Update(ctx, func(w store.Writer) error { return w.Put(k.key(name), value) })
	if err != nil { // autocert goes on with what it has in memory, and says nothing
		k.log.Error("a certificate is not kept; a restart has to order it anew", "name", name, "err", err)
		return fmt.Errorf("keeping a certificate: %w", err)
	}
	return nil
}

// Delete forgets what is under name.
func (k *keptCertificates) Delete(ctx context.Context, name string) error {
	if passes(name) {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.passing, name)
		return nil
	}
	_, err := k.store.Update(ctx, func(w store.Writer) error { return w.Delete(k.key(name)) })
	return err
}
