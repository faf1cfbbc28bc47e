package session

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"sallyport/store"
)

// ErrSeal means that a sealed value was not sealed with our key, was altered, is for another purpose or host, or has
// expired.
var ErrSeal = errors.New("sealed value not accepted")

// A sealed value is, in base64url:
//
//	key id (4) ‖ salt (16) ‖ nonce (12) ‖ AES-256-GCM of [expiry (8) ‖ plain] (… + 16)
//
// The AES key is HKDF-SHA-256 of the sealing key with that salt, so that a random nonce is safe however many values
// are sealed. The additional authenticated data is the key id, and the purpose and host, each with its length.
const (
	sealingKeyLength = 32
	keyIDLength      = 4
	saltLength       = 16
	expiryLength     = 8
	maxSealed        = 32 << 10 // characters
)

type sealer struct {
	key []byte // never altered
	now func() time.Time
}

// ensureSealingKey makes the sealing key if there is none. It replaces a damaged key and reports whether it did: the
// values that the key protects live for minutes only.
func ensureSealingKey(ctx context.Context, st store.Store) (replaced bool, err error) {
	_, err = st.Update(ctx, func(w store.Writer) error {
		replaced = false
		stored, err := w.Get([]byte(keySealing))
		switch {
		case errors.Is(err, store.ErrNotFound):
		case errors.Is(err, store.ErrDamaged), err == nil && len(stored) != sealingKeyLength:
			replaced = true
		default:
			return err
		}
		key := make([]byte, sealingKeyLength)
		rand.Read(key)
		return w.Put([]byte(keySealing), key)
	})
	return replaced, err
}

// applySealing brings a write of the sealing key into memory. If the key was deleted or is damaged, memory keeps the
// one it has.
func (m *memory) applySealing(w store.Write) {
	if !w.Deleted && len(w.Value) == sealingKeyLength {
		m.sealing = slices.Clone(w.Value)
	}
}

// sealer returns a sealer with the current sealing key.
func (s *Sessions) sealer() sealer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return sealer{key: s.memory.sealing, now: s.clock.now}
}

// Seal encrypts plain for one purpose and one host. Unseal opens the result until ttl has passed.
func (s *Sessions) Seal(purpose, host string, plain []byte, ttl time.Duration) (string, error) {
	return s.sealer().seal(purpose, host, plain, ttl)
}

// Unseal decrypts a value that Seal sealed for the same purpose and host, or returns ErrSeal.
func (s *Sessions) Unseal(purpose, host, sealed string) ([]byte, error) {
	return s.sealer().unseal(purpose, host, sealed)
}

func (s sealer) seal(purpose, host string, plain []byte, ttl time.Duration) (string, error) {
	out := make([]byte, keyIDLength+saltLength)
	copy(out, s.keyID())
	rand.Read(out[keyIDLength:])
	aead, err := s.aead(out[keyIDLength:])
	if err != nil {
		return "", fmt.Errorf("sealing a %s: %w", purpose, err)
	}
	text := binary.BigEndian.AppendUint64(nil, uint64(s.now().Add(ttl).UnixNano()))
	out = append(out, aead.Seal(nil, nil, append(text, plain...), s.additionalData(purpose, host))...)
	sealed := base64.RawURLEncoding.EncodeToString(out)
	if len(sealed) > maxSealed {
		return "", fmt.Errorf("sealing a %s: %d bytes are too many for a cookie", purpose, len(plain))
	}
	return sealed, nil
}

func (s sealer) unseal(purpose, host, sealed string) ([]byte, error) {
	if len(sealed) > maxSealed {
		return nil, ErrSeal
	}
	in, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil || len(in) < keyIDLength+saltLength || string(in[:keyIDLength]) != string(s.keyID()) {
		return nil, ErrSeal
	}
	aead, err := s.aead(in[keyIDLength : keyIDLength+saltLength])
	if err != nil {
		return nil, ErrSeal
	}
	text, err := aead.Open(nil, nil, in[keyIDLength+saltLength:], s.additionalData(purpose, host))
	if err != nil || len(text) < expiryLength {
		return nil, ErrSeal
	}
	if expires := int64(binary.BigEndian.Uint64(text)); s.now().UnixNano() >= expires {
		return nil, ErrSeal
	}
	return text[expiryLength:], nil
}

// aead returns the cipher of one sealed value. It makes the nonce and puts it before the ciphertext.
func (s sealer) aead(salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, s.key, salt, "sallyport sealed value", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// keyID names the key without revealing anything about it.
func (s sealer) keyID() []byte {
	sum := sha256.Sum256(append([]byte("sallyport key id\x00"), s.key...))
	return sum[:keyIDLength]
}

// additionalData returns the additional authenticated data; lengths separate its parts.
func (s sealer) additionalData(purpose, host string) []byte {
	b := s.keyID()
	for _, part := range []string{purpose, host} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}
