package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
)

// tokenLength is the length of a token as text: 256 random bits in base64url without padding.
const tokenLength = 43

// digest is the SHA-256 of a token as text: all the store ever knows of it.
type digest [sha256.Size]byte

// newToken makes 256 random bits as text. crypto/rand never fails; the program dies instead.
func newToken() string {
	var bits [32]byte
	rand.Read(bits[:])
	return base64.RawURLEncoding.EncodeToString(bits[:])
}

// newID makes the name of a session: 128 random bits in hex.
func newID() string {
	var bits [16]byte
	rand.Read(bits[:])
	return hex.EncodeToString(bits[:])
}

// digestOf is the digest of text if it has the shape of a token: exact length, base64url characters only.
func digestOf(text string) (digest, bool) {
	if len(text) != tokenLength {
		return digest{}, false
	}
	for i := range len(text) {
		if !tokenByte(text[i]) {
			return digest{}, false
		}
	}
	var b [tokenLength]byte // on the stack, unlike a converted string
	copy(b[:], text)
	return sha256.Sum256(b[:]), true
}

func tokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}
