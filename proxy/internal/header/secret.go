package header

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// SharedSecret is the SHA-256 of the secret that front proxies share with us; nil if there is none.
type SharedSecret []byte

// SentIn reports whether the headers hold the secret, once.
func (s SharedSecret) SentIn(h http.Header) bool {
	lines := h[Secret]
	if len(lines) != 1 {
		return false
	}
	sum := sha256.Sum256([]byte(lines[0]))
	return subtle.ConstantTimeCompare(sum[:], s) == 1
}

// minSecretBytes is the length of 128 bits in hexadecimal.
const minSecretBytes = 32

// ReadSharedSecret reads the secret from the file at path; nil if path is empty. Its errors do not reveal what the file holds.
func ReadSharedSecret(path string) (SharedSecret, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the secret of forward-auth: %w", err)
	}
	line := strings.TrimRight(string(text), "\r\n")
	if len(line) < minSecretBytes || strings.ContainsFunc(line, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return nil, errors.New(path + " must hold one line of at least 32 printable characters; make one with: openssl rand -hex 32")
	}
	sum := sha256.Sum256([]byte(line))
	return sum[:], nil
}
