package listen

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/acme/autocert"

	"sallyport/store"
)

const (
	challengeLookups = 2               // in the store at once: anybody may ask for challenges
	challengeTimeout = 5 * time.Second // for one lookup, with what it waits for others
)

// challenge returns the response to a challenge. Where replicas share the store, it looks there too.
func (c *certCache) challenge(ctx context.Context, name string) ([]byte, error) {
	c.mu.Lock()
	value, ok := c.challenges[name]
	c.mu.Unlock()
	switch {
	case ok:
		return value, nil
	case !c.shared || !plausible(name):
		return nil, autocert.ErrCacheMiss
	}
	ctx, cancel := context.WithTimeout(ctx, challengeTimeout)
	defer cancel()
	select {
	case c.lookups <- struct{}{}:
		defer func() { <-c.lookups }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	err := c.store.View(ctx, func(r store.Reader) error {
		stored, err := r.Get(c.key(name))
		value = bytes.Clone(stored)
		return err
	})
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDamaged) {
		return nil, autocert.ErrCacheMiss
	}
	return value, err
}

// plausible reports whether name may be that of a challenge, of a host or by a token of RFC 8555, §8.3.
func plausible(name string) bool {
	const longest = 300
	return len(name) <= longest && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' })
}

// putChallenge keeps the response to a challenge until it is deleted, for other replicas too.
func (c *certCache) putChallenge(ctx context.Context, name string, value []byte) error {
	c.mu.Lock()
	c.challenges[name] = slices.Clone(value)
	c.mu.Unlock()
	if !c.shared {
		return nil
	}
	_, err := c.store.Update(ctx, func(w store.Writer) error { return w.Put(c.key(name), value) })
	if err != nil {
		c.log.Error("other replicas cannot respond to a challenge of the authority", "name", name, "err", err)
	}
	return err
}

func (c *certCache) deleteChallenge(ctx context.Context, name string) error {
	c.mu.Lock()
	delete(c.challenges, name)
	c.mu.Unlock()
	if !c.shared {
		return nil
	}
	_, err := c.store.Update(ctx, func(w store.Writer) error { return w.Delete(c.key(name)) })
	return err
}

// forgetChallenges deletes the challenges of a replica that ended while it ordered.
func (c *certCache) forgetChallenges(ctx context.Context) {
	if !c.shared {
		return
	}
	_, err := c.store.Update(ctx, func(w store.Writer) error {
		var left [][]byte
		for e, err := range w.Scan([]byte(c.prefix), nil) {
			if err != nil && !errors.Is(err, store.ErrDamaged) {
				return err
			}
			if isChallenge(string(e.Key)) {
				left = append(left, bytes.Clone(e.Key))
			}
		}
		for _, key := range left {
			if err := w.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		c.log.Warn("challenges of former orders could not be deleted", "err", err)
	}
}
