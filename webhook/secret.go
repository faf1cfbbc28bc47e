package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// The bounds of a secret in bytes, of the file that holds secrets, and of their number.
const (
	minSecret     = 24
	maxSecret     = 64
	maxSecretFile = 4096
	maxSecrets    = 2
)

const secretPrefix = "whsec_"

// howToMakeSecret ends the errors about the file of a secret.
const howToMakeSecret = "make one with: echo \"whsec_$(openssl rand -base64 32)\""

// secret is what an endpoint and Sallyport share. It is a function so that no way of printing it shows the key.
type secret struct {
	mac func(content string, body []byte) []byte
}

func newSecret(key []byte) secret {
	return secret{func(content string, body []byte) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(content))
		h.Write(body)
		return h.Sum(nil)
	}}
}

// String keeps the secret out of text.
func (secret) String() string { return "[secret]" }

// GoString keeps the secret out of %#v.
func (secret) GoString() string { return "[secret]" }

// parseSecret parses "whsec_" and a key in base64. Its errors do not show the text.
func parseSecret(text string) (secret, error) {
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	if !ok {
		return secret{}, errors.New("has a secret that does not begin with whsec_")
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return secret{}, errors.New("has a secret that is not base64 after whsec_")
	}
	if len(key) < minSecret || len(key) > maxSecret {
		return secret{}, fmt.Errorf("has a secret of %d bytes, and it must have %d to %d", len(key), minSecret, maxSecret)
	}
	return newSecret(key), nil
}

// readSecrets reads a file with a secret on its only line, or with two while one takes the place of the other.
func readSecrets(path string) (secrets []secret, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	lines := strings.Fields(string(data))
	if len(lines) == 0 || len(lines) > maxSecrets || len(data) > maxSecretFile {
		return nil, fmt.Errorf("names %s, which must hold one secret, or two on a line each while you change it; %s", path, howToMakeSecret)
	}
	for _, line := range lines {
		s, err := parseSecret(line)
		if err != nil {
			return nil, fmt.Errorf("names %s, which %w; %s", path, err, howToMakeSecret)
		}
		secrets = append(secrets, s)
	}
	return secrets, nil
}

// sign returns the value of the header webhook-signature: a signature by each secret, which the receiver may choose from
// (Standard Webhooks, "Signature scheme"). at is the value of webhook-timestamp.
func sign(secrets []secret, id, at string, body []byte) string {
	signatures := make([]string, len(secrets))
	for i, s := range secrets {
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(s.mac(id+"."+at+".", body))
	}
	return strings.Join(signatures, " ")
}

// timestamp returns the value of the header webhook-timestamp.
func timestamp(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
