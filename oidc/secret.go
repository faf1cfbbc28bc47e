package oidc

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
)

// Secret is text that is never printed: not in logs, errors or dumps of settings.
type Secret string

const redacted = "[secret]"

// String keeps the secret out of text.
func (Secret) String() string { return redacted }

// GoString keeps the secret out of %#v.
func (Secret) GoString() string { return redacted }

// MarshalText keeps the secret out of JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue keeps the secret out of slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// readSecret reads a file that holds a secret on its only line.
func readSecret(path string) (Secret, error) {
	if path == "" {
		return "", errors.New("is missing; write the path of a file that holds the client secret")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	text := strings.TrimSpace(string(data))
	if text == "" || len(text) > 4096 || strings.ContainsAny(text, "\r\n\x00") {
		return "", fmt.Errorf("%s must hold the secret alone, on one line", path)
	}
	return Secret(text), nil
}
