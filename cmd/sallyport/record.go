package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/store"
)

// What the store holds for the audit record: the keys that sign its checkpoints, and where it ended last.
const (
	auditKeys    = "auditkey/"
	auditEndKey  = "audit/end"
	markDeadline = 10 * time.Second // for storing the end of the record
)

// auditKey signs checkpoints of the audit record. A copy of the store has its public half alone.
type auditKey struct {
	ID      string    `json:"id"`
	Made    time.Time `json:"made"`
	Public  []byte    `json:"public"`
	Private []byte    `json:"private,omitempty"` // the seed
}

// String keeps the key out of text.
func (auditKey) String() string { return "[secret]" }

// GoString keeps the key out of %#v.
func (auditKey) GoString() string { return "[secret]" }

func newAuditKey() (auditKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return auditKey{}, fmt.Errorf("making a key for the audit record: %w", err)
	}
	return auditKey{hex.EncodeToString(public[:8]), time.Now().UTC(), public, private.Seed()}, nil
}

// check returns an error if a key is not what was written.
func (k auditKey) check() error {
	if len(k.Public) != ed25519.PublicKeySize || k.ID != hex.EncodeToString(k.Public[:8]) {
		return errors.New("the public key is damaged")
	}
	if len(k.Private) == 0 {
		return nil
	}
	if len(k.Private) != ed25519.SeedSize || !bytes.Equal(ed25519.NewKeyFromSeed(k.Private).Public().(ed25519.PublicKey), k.Public) {
		return errors.New("the private key is damaged")
	}
	return nil
}

func putAuditKey(w store.Writer, k auditKey) error {
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return w.Put([]byte(auditKeys+k.ID), text)
}

// readAuditKeys returns the keys that checkpoints were and are signed with, the newest last. It leaves out those that
// cannot be read.
func readAuditKeys(r store.Reader) (keys []auditKey, err error) {
	for e, err := range r.Scan([]byte(auditKeys), nil) {
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return nil, err
		}
		var k auditKey
		if err == nil && json.Unmarshal(e.Value, &k) == nil && k.check() == nil {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b auditKey) int { return a.Made.Compare(b.Made) })
	return keys, nil
}

// signingAuditKey returns the key that signs. It makes one if there is none.
func signingAuditKey(ctx context.Context, st store.Store) (key auditKey, err error) {
	find := func(r store.Reader) error {
		keys, err := readAuditKeys(r)
		for _, k := range keys {
			if len(k.Private) > 0 {
				key = k
			}
		}
		return err
	}
	if err := st.View(ctx, find); err != nil || key.ID != "" {
		return key, err
	}
	_, err = st.Update(ctx, func(w store.Writer) (err error) {
		if err := find(w); err != nil || key.ID != "" { // another replica made one meanwhile
			return err
		}
		if key, err = newAuditKey(); err != nil {
			return err
		}
		return putAuditKey(w, key)
	})
	return key, err
}

// clearAuditKeys deletes the private halves of the keys, and the end of the record, from a copy of the store: what was
// signed can still be verified, and the copy does not know how the record went on.
func clearAuditKeys(w store.Writer) error {
	keys, err := readAuditKeys(w)
	if err != nil {
		return err
	}
	if err := errors.Join(store.DeleteAll(w, []byte(auditKeys)), w.Delete([]byte(auditEndKey)), store.DeleteAll(w, []byte(replicaRecords))); err != nil {
		return err
	}
	for _, k := range keys {
		k.Private = nil
		if err := putAuditKey(w, k); err != nil {
			return err
		}
	}
	return nil
}

// keepAuditKeys gives a copy of the store the keys of the store in whose place it is put: lines that were signed with a key
// which was made after the copy stay verifiable. [clearAuditKeys] removes the private halves.
func keepAuditKeys(former store.Reader, w store.Writer) error {
	return store.CopyAll(w, former, []byte(auditKeys))
}

// loadMark returns where the record ended last. A copy of a store, and a store that never had a record, does not know.
func loadMark(ctx context.Context, st store.Store) (mark audit.Mark, err error) {
	if marked, err := hasKey(st, copyKey); err != nil || marked {
		return mark, err
	}
	err = st.View(ctx, func(r store.Reader) error {
		text, err := r.Get([]byte(auditEndKey))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading where the audit record ended: %w", err)
		}
		return json.Unmarshal(text, &mark)
	})
	return mark, err
}

// checkpoints returns what the record needs to sign what it writes, and to keep its end in the store. A store that is full has
// no place for a new key: then nothing is signed until the next start.
func (c *components) checkpoints(ctx context.Context) (audit.Checkpoints, error) {
	checkpoints := audit.Checkpoints{Keep: c.keepMark}
	key, err := signingAuditKey(ctx, c.store)
	switch {
	case errors.Is(err, store.ErrFull):
		c.log.Warn("no key for the audit record can be stored: the record is not signed until the next start", "err", err)
	case err != nil:
		return checkpoints, fmt.Errorf("reading the key of the audit record: %w", err)
	default:
		private := ed25519.NewKeyFromSeed(key.Private)
		checkpoints.Key, checkpoints.Sign = key.ID, func(text []byte) []byte { return ed25519.Sign(private, text) }
	}
	return checkpoints, nil
}

func (c *components) keepMark(mark audit.Mark) error {
	if c.recorder != nil {
		return c.recorder.keep(mark)
	}
	ctx, cancel := context.WithTimeout(context.Background(), markDeadline)
	defer cancel()
	text, err := json.Marshal(mark)
	if err == nil {
		_, err = c.store.Update(ctx, func(w store.Writer) error { return w.Put([]byte(auditEndKey), text) })
	}
	if err != nil {
		c.log.Warn("the end of the audit record could not be stored; it is tried again with the next lines", "err", err)
	}
	return err
}

// recordTrust is what the audit record is compared with.
type recordTrust struct {
	Keys    jose.JSONWebKeySet    `json:"keys"`
	Mark    audit.Mark            `json:"mark"`
	Replica string                `json:"replica,omitempty"` // whose record it is, of several that use the store
	Marks   map[string]audit.Mark `json:"marks,omitempty"`   // of the records of all of them
}

// readTrust reads what the store knows of the audit record; with several replicas, of those of all of them. replica is the
// name of this one.
func readTrust(ctx context.Context, st store.Store, replica string) (trust recordTrust, err error) {
	if replica == "" {
		trust.Mark, err = loadMark(ctx, st)
	} else {
		err = st.View(ctx, func(r store.Reader) error {
			trust.Marks, err = replicaMarks(r)
			return err
		})
		trust.Replica, trust.Mark = replica, trust.Marks[replica]
	}
	if err != nil {
		return trust, err
	}
	trust.Keys.Keys = []jose.JSONWebKey{}
	err = st.View(ctx, func(r store.Reader) error {
		keys, err := readAuditKeys(r)
		for _, k := range keys {
			trust.Keys.Keys = append(trust.Keys.Keys, jose.JSONWebKey{Key: ed25519.PublicKey(k.Public), KeyID: k.ID, Algorithm: string(jose.EdDSA), Use: "sig"})
		}
		return err
	})
	return trust, err
}

func (c *control) recordTrust(ctx context.Context, _ admin.Actor) (recordTrust, error) {
	return readTrust(ctx, c.store, c.questions.directory.Replica())
}
