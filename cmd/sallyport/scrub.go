package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"sallyport/config"
)

const (
	minSecret     = 6       // bytes: what is shorter would take away half of every text
	maxSecretFile = 1 << 20 // bytes
)

// scrubber replaces secrets in text, in every encoding in which they could stand there. It is the second line: what the
// bundle has is chosen so that no secret is in it.
type scrubber struct{ secrets [][]byte }

// newScrubber returns a scrubber for what a configuration keeps back, for the files that it names and for the environment.
func newScrubber(redacted config.Redacted, environment []string) *scrubber {
	s := new(scrubber)
	for _, text := range redacted.Withheld {
		s.add(text)
	}
	for _, path := range redacted.Files {
		s.addFile(path)
	}
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		if isSecretName(name) {
			s.add(value)
		}
	}
	slices.SortFunc(s.secrets, func(a, b []byte) int { return len(b) - len(a) }) // the longest first: it may contain others
	return s
}

// isSecretName reports whether an environment variable may hold a secret: all but those that every process has may.
func isSecretName(name string) bool {
	return !slices.Contains([]string{"PATH", "HOME", "PWD", "OLDPWD", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "TMPDIR", "HOSTNAME", "SHLVL", "_"}, name) &&
		!strings.HasPrefix(name, "LC_") && !strings.HasPrefix(name, "GO")
}

// addFile adds the whole of a file and each of its lines.
func (s *scrubber) addFile(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecretFile))
	if err != nil {
		return
	}
	s.add(strings.TrimSpace(string(text)))
	for line := range strings.SplitSeq(string(text), "\n") {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
			s.add(line)
		}
		if _, password, ok := strings.Cut(line, ":"); ok { // user:password
			s.add(password)
		}
		s.addPassword(line)
	}
}

// addPassword adds the password of a connection string, which is a URL or has a key for each part.
func (s *scrubber) addPassword(line string) {
	if u, err := url.Parse(line); err == nil {
		if password, ok := u.User.Password(); ok {
			s.add(password)
		}
	}
	for part := range strings.FieldsSeq(line) {
		if password, ok := strings.CutPrefix(part, "password="); ok {
			s.add(strings.Trim(password, "'"))
		}
	}
}

// add adds a secret in every encoding.
func (s *scrubber) add(text string) {
	if len(text) < minSecret {
		return
	}
	raw := []byte(text)
	escaped, _ := json.Marshal(text) // a string always can be
	encodings := []string{text, hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)), url.QueryEscape(text), url.PathEscape(text), strings.Trim(string(escaped), `"`)}
	for skip := range 3 { // base64 of a text in which the secret begins at any byte
		padded := append(make([]byte, skip), raw...)
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			whole := enc.EncodeToString(padded)
			from, to := (skip*8+5)/6, len(padded)*8/6
			encodings = append(encodings, whole[from:to])
		}
	}
	for _, encoded := range encodings {
		if len(encoded) >= minSecret {
			s.secrets = append(s.secrets, []byte(encoded))
		}
	}
}

func (s *scrubber) clean(text []byte) []byte {
	for _, secret := range s.secrets {
		text = bytes.ReplaceAll(text, secret, []byte("[redacted]"))
	}
	return text
}
