package config

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Redacted is a configuration file of which only what is known to be no secret is left.
type Redacted struct {
	Text     []byte   // YAML, without comments
	Withheld []string // texts that were replaced
	Files    []string // paths of the files that it names
}

// redactedText stands for what was replaced.
const redactedText = "[redacted]"

// plainKeys are the keys whose texts are kept: nobody writes a secret or the name of a person there. Of a URL, the origin
// is kept, and of the identity provider's and our own the path too. Of other keys, only numbers, durations and sizes are.
var plainKeys = strings.Fields(`name host path path_case path_encoding methods accept policy mode public scim ops http trusted_proxies
	user_claim user_attribute id kinds events format level per on_failure types kind min_version`)

// originKeys are the keys whose texts are URLs, of which the origin is kept.
var originKeys = []string{"upstream", "url", "public_url", "issuer", "directory"}

const maxPlainText = 100

var (
	plainValue = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^-?[0-9]{1,7}(\.[0-9]{1,3})?(ns|us|ms|s|m|h|d|KiB|MiB|GiB|%)?$|^(true|false|on|off|null|all|any)$`)
	})
	plainText = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[\pL\pN._~:/*\[\] -]+$`) }) // of at most maxPlainText characters: a limit here takes milliseconds to compile
)

// Redact reads the configuration file at path and leaves what is known to be no secret, whatever faults the file has. What is
// no YAML is an error that quotes nothing of it.
func Redact(path string) (Redacted, error) {
	data, dir, err := read(path)
	if err != nil {
		return Redacted{}, err
	}
	return RedactText(path, dir, data)
}

// RedactText is [Redact] for data, the content of the file at path. Relative paths in it start at dir.
func RedactText(path, dir string, data []byte) (Redacted, error) {
	var document any
	if err := yaml.Unmarshal(data, &document); err != nil {
		return Redacted{}, fmt.Errorf("%s is no YAML, so that it cannot be known what in it is a secret", path)
	}
	known, err := knownKeys()
	if err != nil {
		return Redacted{}, err
	}
	r := redactor{dir: dir, known: known}
	text, err := yaml.Marshal(r.value("", document))
	return Redacted{Text: text, Withheld: r.withheld, Files: r.files}, err
}

// knownKeys returns every key that a configuration file may have.
func knownKeys() (map[string]bool, error) {
	text, err := Schema()
	if err != nil {
		return nil, err
	}
	var schema any
	if err := json.Unmarshal(text, &schema); err != nil {
		return nil, err
	}
	known := map[string]bool{}
	addKeys(known, schema)
	return known, nil
}

func addKeys(known map[string]bool, schema any) {
	switch schema := schema.(type) {
	case []any:
		for _, item := range schema {
			addKeys(known, item)
		}
	case map[string]any:
		if properties, ok := schema["properties"].(map[string]any); ok {
			for key := range properties {
				known[key] = true
			}
		}
		for _, value := range schema {
			addKeys(known, value)
		}
	}
}

type redactor struct {
	dir             string
	known           map[string]bool
	withheld, files []string
}

// value returns what is left of a value below a key.
func (r *redactor) value(key string, value any) any {
	switch value := value.(type) {
	case nil, bool:
		return value
	case map[string]any:
		left := map[string]any{}
		for name, item := range value {
			left[r.key(name, len(left))] = r.value(name, item)
		}
		return left
	case map[any]any:
		left := map[string]any{}
		for name, item := range value {
			left[r.key(fmt.Sprint(name), len(left))] = r.value(fmt.Sprint(name), item)
		}
		return left
	case []any:
		left := make([]any, len(value))
		for i, item := range value {
			left[i] = r.value(key, item)
		}
		return left
	}
	return r.text(key, fmt.Sprint(value))
}

// key returns a key as it is, if a configuration may have it: a secret may stand where the key should.
func (r *redactor) key(name string, n int) string {
	if r.known[name] {
		return name
	}
	r.withhold(name)
	return fmt.Sprintf("%s %d", redactedText, n+1)
}

func (r *redactor) text(key, text string) string {
	switch {
	case text == "" || !r.known[key]:
	case strings.HasSuffix(key, "_file"):
		return r.file(text)
	case plainValue().MatchString(text):
		return text
	case slices.Contains(originKeys, key):
		return r.origin(text)
	case slices.Contains(plainKeys, key) && utf8.RuneCountInString(text) <= maxPlainText && plainText().MatchString(text):
		return text
	}
	r.withhold(text)
	return redactedText
}

// file says of a file whether it is there: somebody may have written the secret itself in the place of its path.
func (r *redactor) file(path string) string {
	r.withhold(path)
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.dir, path)
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return "[no file that can be seen]"
	}
	r.files = append(r.files, path)
	return fmt.Sprintf("[a file, mode %04o]", info.Mode().Perm())
}

// origin returns the origin of a URL: its path, query and user may be secrets.
func (r *redactor) origin(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		r.withhold(text)
		return redactedText
	}
	left := u.Scheme + "://" + u.Host
	if text != left && text != left+"/" {
		for _, part := range append([]string{u.RawQuery, u.Fragment}, strings.Split(u.Path, "/")...) {
			r.withhold(part)
		}
		if password, ok := u.User.Password(); ok {
			r.withhold(password)
		}
		r.withhold(u.User.Username())
		left += "/" + redactedText
	}
	return left
}

func (r *redactor) withhold(text string) { r.withheld = append(r.withheld, text) }
