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
	keyIDLength = 4
	saltLength  = 16
	maxSealed   = 8 << 10 // characters; cookies are smaller
)

type sealer struct {
	key []byte // 32 bytes
	now func() time.Time
}

// sealingKey reads the sealing key, and makes it if there is none. A damaged one is replaced: the values that it
// protects live for minutes only.
func sealingKey(ctx context.Context, st store.Store) (key []byte, err error) {
	_, err = st.Update(ctx, func(w store.Writer) error {
		text, err := w.Get([]byte(keySealing))
		if err == nil && len(text) == 32 {
			key = append([]byte(nil), text...)
			return nil
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		key = make([]byte, 32)
		rand.Read(key)
		return w.Put([]byte(keySealing), key)
	})
	return key, err
}

// Seal encrypts plain for one purpose and one host. Unseal opens the result until ttl has passed.
func (s *Sessions) Seal(purpose, host string, plain []byte, ttl time.Duration) (string, error) {
	return s.sealer.seal(purpose, host, plain, ttl)
}

// Unseal decrypts a value that Seal sealed for the same purpose and host, or returns ErrSeal.
func (s *Sessions) Unseal(purpose, host, sealed string) ([]byte, error) {
	return s.sealer.unseal(purpose, host, sealed)
}

func (s sealer) seal(purpose, host string, plain []byte, ttl time.Duration) (string, error) {
	out := make([]byte, keyIDLength+saltLength, keyIDLength+saltLength+12+8+len(plain)+16)
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
	if err != nil || len(text) < 8 {
		return nil, ErrSeal
	}
	if expires := int64(binary.BigEndian.Uint64(text)); s.now().UnixNano() >= expires {
		return nil, ErrSeal
	}
	return text[8:], nil
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
