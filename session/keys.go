package session

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport/store"
)

// A key signs for a day. It is published for an hour before it signs, so that applications that verify assertions have
// it by then, and for an hour after its successor began to sign, which is longer than any assertion is valid.
const (
	publishedBefore = time.Hour
	signingPeriod   = 24 * time.Hour
	publishedAfter  = time.Hour
)

// SigningKey is a private key that assertions are signed with (ES256). All replicas share the keys: they are in the
// store. A SigningKey never changes.
type SigningKey struct {
	Private *ecdsa.PrivateKey // on P-256
	Made    time.Time

	id string
}

// String hides the key from logs.
func (*SigningKey) String() string { return "[secret]" }

// GoString hides the key from logs.
func (*SigningKey) GoString() string { return "[secret]" }

// signingRecord is a key as stored.
type signingRecord struct {
	Made  time.Time `json:"made"`
	PKCS8 []byte    `json:"pkcs8"`
}

// SigningKeys returns the key that signs now and every key that has to be published now, the current one among them.
// There is always a current key.
func (s *Sessions) SigningKeys() (current *SigningKey, published []*SigningKey) {
	s.mu.RLock()
	keys := s.memory.signing
	s.mu.RUnlock()
	now := s.clock.now()
	return currentKey(keys, now), publishedKeys(keys, now)
}

// currentKey returns the newest key that has been published for long enough. If none has, it returns the oldest, which
// has been published the longest. keys is sorted, the oldest first.
func currentKey(keys []*SigningKey, now time.Time) *SigningKey {
	current := keys[0]
	for _, k := range keys[1:] {
		if !now.Before(k.Made.Add(publishedBefore)) {
			current = k
		}
	}
	return current
}

// publishedKeys returns keys without those whose successor has signed for so long that every assertion that they signed
// has expired.
func publishedKeys(keys []*SigningKey, now time.Time) []*SigningKey {
	for len(keys) > 1 && !now.Before(keys[1].Made.Add(publishedBefore+publishedAfter)) {
		keys = keys[1:]
	}
	return keys
}

// rotateKeys makes a new signing key if the newest has signed for its period, and deletes the keys that are no longer
// published and those that are damaged. update commits what a function writes.
func (s *Sessions) rotateKeys(ctx context.Context, update updateFunc) error {
	damaged := 0
	err := update(ctx, func(w store.Writer) (err error) {
		damaged, err = rotateSigning(w, s.clock.now())
		return err
	})
	if err == nil && damaged > 0 {
		s.log.Error("damaged signing keys were deleted; applications reject assertions that the keys signed", "count", damaged)
	}
	return err
}

func rotateSigning(w store.Writer, now time.Time) (damaged int, err error) {
	keys, obsolete, err := readSigning(w)
	if err != nil {
		return 0, err
	}
	damaged = len(obsolete)
	if len(keys) == 0 || !now.Before(keys[len(keys)-1].Made.Add(signingPeriod)) {
		if err := putSigningKey(w, now); err != nil {
			return 0, err
		}
	}
	for _, k := range keys[:len(keys)-len(publishedKeys(keys, now))] {
		obsolete = append(obsolete, []byte(prefixSigning+k.id))
	}
	for _, key := range obsolete {
		if err := w.Delete(key); err != nil {
			return 0, err
		}
	}
	return damaged, nil
}

// readSigning returns the signing keys, the oldest first, and where the store has damaged ones.
func readSigning(r store.Reader) (keys []*SigningKey, damaged [][]byte, err error) {
	for e, err := range r.Scan([]byte(prefixSigning), nil) {
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return nil, nil, err
		}
		k, ok := (*SigningKey)(nil), false
		if err == nil {
			k, ok = decodeSigningKey(string(e.Key), e.Value)
		}
		if ok {
			keys = append(keys, k)
		} else {
			damaged = append(damaged, slices.Clone(e.Key))
		}
	}
	sortSigning(keys)
	return keys, damaged, nil
}

func sortSigning(keys []*SigningKey) {
	slices.SortFunc(keys, func(a, b *SigningKey) int { return cmp.Or(a.Made.Compare(b.Made), strings.Compare(a.id, b.id)) })
}

func putSigningKey(w store.Writer, now time.Time) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making a signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return fmt.Errorf("encoding a signing key: %w", err)
	}
	return putJSON(w, []byte(prefixSigning+newID()), signingRecord{Made: now, PKCS8: der})
}

// decodeSigningKey decodes the record at key. It reports false if the record is damaged.
func decodeSigningKey(key string, value []byte) (*SigningKey, bool) {
	var r signingRecord
	if json.Unmarshal(value, &r) != nil {
		return nil, false
	}
	parsed, err := x509.ParsePKCS8PrivateKey(r.PKCS8)
	private, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || private.Curve != elliptic.P256() {
		return nil, false
	}
	return &SigningKey{Private: private, Made: r.Made, id: strings.TrimPrefix(key, prefixSigning)}, true
}

// applySigning brings the write of a signing key into memory. The last key stays in memory even if the store no longer
// has it, so that there is always one.
func (m *memory) applySigning(w store.Write) {
	id := strings.TrimPrefix(string(w.Key), prefixSigning)
	keys := slices.DeleteFunc(slices.Clone(m.signing), func(k *SigningKey) bool { return k.id == id })
	if !w.Deleted {
		if k, ok := decodeSigningKey(string(w.Key), w.Value); ok {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return
	}
	sortSigning(keys)
	m.signing = keys
}
