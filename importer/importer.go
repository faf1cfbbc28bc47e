// Package importer writes a configuration of Sallyport out of the configuration of another proxy.
//
// One rule stands above all others: what comes out never allows a request that the other proxy would have denied. A test of the
// other proxy that cannot be expressed here is therefore false where it lets people in and true where it keeps people out; a
// [Finding] says so. The package is pure: it reads one text and opens no file.
package importer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Source is the program that a configuration was written for.
type Source string

// The programs whose configurations can be read.
const (
	OAuth2Proxy        Source = "oauth2-proxy"
	Pomerium           Source = "pomerium"
	TraefikForwardAuth Source = "traefik-forward-auth"
)

// Sources returns the names of all programs.
func Sources() []Source { return []Source{OAuth2Proxy, Pomerium, TraefikForwardAuth} }

// Options say how a configuration is written.
type Options struct {
	SecretsDir string // the folder of the files that the configuration names for secrets; "secrets" if empty
}

// Result is a configuration, and what became of each setting that it was made of.
type Result struct {
	YAML     []byte
	Findings []Finding
	Secrets  []SecretFile // that the configuration names, and whose content was in the text
}

// SecretFile is a file that the configuration names. Its content is never printed.
type SecretFile struct {
	Name    string // below Options.SecretsDir
	Content Secret
}

// Secret is text that is never printed.
type Secret string

// String keeps the secret out of text.
func (Secret) String() string { return "[secret]" }

// GoString keeps the secret out of %#v.
func (Secret) GoString() string { return "[secret]" }

// MarshalText keeps the secret out of JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// ErrNothing means that a text has no setting of the program.
var ErrNothing = errors.New("has no setting that is known")

// maxSize bounds the text that is read, and maxSettings what is taken from it.
const (
	maxSize     = 1 << 20
	maxSettings = 5000
)

// Import reads text, the content of a configuration of a program, and writes one of Sallyport.
func Import(source Source, text []byte, o Options) (Result, error) {
	if !slices.Contains(Sources(), source) {
		return Result{}, fmt.Errorf("%q is no program whose configuration can be read; write oauth2-proxy, pomerium or traefik-forward-auth", string(source))
	}
	if len(text) > maxSize {
		return Result{}, fmt.Errorf("has %d bytes; at most %d are read", len(text), maxSize)
	}
	if strings.ContainsRune(string(text), 0) {
		return Result{}, errors.New("is not a text file")
	}
	d := newDraft(o)
	var err error
	switch source {
	case OAuth2Proxy:
		err = importOAuth2Proxy(d, text)
	case Pomerium:
		err = importPomerium(d, text)
	case TraefikForwardAuth:
		err = importTraefik(d, text)
	}
	if err != nil {
		return Result{}, err
	}
	return d.result(source)
}
