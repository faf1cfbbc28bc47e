package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"sallyport/config"
	"sallyport/entratest"
)

// readBundle returns the files of a bundle by their names.
func readBundle(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, "sallyport-support/")] = string(text)
	}
}

// encodings returns a secret in the encodings in which it could be read.
func encodings(secret []byte) []string {
	text := string(secret)
	return []string{text, hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)), base64.StdEncoding.EncodeToString(secret),
		base64.RawStdEncoding.EncodeToString(secret), base64.URLEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret), url.QueryEscape(text), url.PathEscape(text)}
}

// storedSecrets returns what is stored under the prefixes that hold secrets or their digests.
func storedSecrets(t *testing.T, path string) (secrets [][]byte) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				for _, prefix := range []string{"session/key", "session/grant/", "secret/", "signing/", "auditkey/", "reviewkey/"} {
					if bytes.HasPrefix(k, []byte(prefix)) {
						secrets = append(secrets, bytes.Clone(v))
					}
				}
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return secrets
}

// TestSupportBundle_HasNoSecret seeds a secret in every place that has one, and looks for each in every encoding.
func TestSupportBundle_HasNoSecret(t *testing.T) {
	w := newWorld(t)
	canary := func(place string) []byte { return []byte("canary+/" + place + "?4f1d") }
	places := []string{"comment", "header", "url", "webhook", "environment", "front", "unknown", "value"}
	t.Setenv("SALLYPORT_CANARY", string(canary("environment")))
	writeFile(t, w.dir, "secrets/hook", []byte("whsec_"+base64.StdEncoding.EncodeToString(canary("webhook"+strings.Repeat("x", 16)))+"\n"))
	w.rewrite("policies:\n", "# "+string(canary("comment"))+"\nwebhooks: [{name: siem, url: 'https://hooks.test/"+string(canary("url"))+"', secret_file: secrets/hook}]\npolicies:\n")
	w.rewrite("    accept: [bearer]\n", "    accept: [bearer]\n    request_headers: {set: [{name: X-Key, value: '"+string(canary("header"))+"'}]}\n")
	s := w.start("--init")
	p := w.pusher(s)
	members := p.form("Members", w.group)
	person := w.entra.Add(entratest.Person{UPN: "ada@example.com", Name: "ada"})
	p.member("Add", members, p.hire("ada", person.OID))
	w.entra.SignIn(person.OID)
	w.newBrowser(s).signIn()

	secrets := [][]byte{[]byte("the client secret"), []byte(w.token)}
	for _, place := range places {
		secrets = append(secrets, canary(place))
	}
	for _, name := range []string{"tls.key", "secrets/hook"} {
		text, err := os.ReadFile(filepath.Join(w.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
			if !strings.HasPrefix(line, "-----") {
				secrets = append(secrets, []byte(line))
			}
		}
	}
	check := func(t *testing.T, name string, want []string, flags ...string) {
		path := filepath.Join(w.dir, name)
		s.verb(append([]string{"support-bundle", path}, flags...)...)
		files := readBundle(t, path)
		for _, name := range want {
			if len(files[name]) < 10 {
				t.Errorf("the bundle has no %s, but %q", name, files[name+".error"])
			}
		}
		for name, text := range files {
			for _, secret := range secrets {
				for _, encoded := range encodings(secret) {
					if strings.Contains(text, encoded) {
						t.Errorf("%s has the secret %q", name, secret)
					}
				}
			}
			if len(flags) == 0 && strings.Contains(text, "ada@example.com") {
				t.Errorf("%s names a person", name)
			}
		}
	}
	all := []string{"version.json", "config.yaml", "doctor.json", "readyz.txt", "metrics.txt", "store-faults.json", "facts.json", "record.jsonl", "goroutines.txt"}
	check(t, "running.tar.gz", all)
	check(t, "people.tar.gz", all, "--people")
	w.rewrite("policies:\n", "client_secret: "+string(canary("unknown"))+"\nlog: {level: '"+string(canary("value"))+"'}\npolicies:\n")
	check(t, "fault.tar.gz", all)
	s.kill()
	secrets = append(secrets, storedSecrets(t, filepath.Join(w.dir, "data", "sallyport.db"))...)
	if len(secrets) < 15 {
		t.Errorf("%d secrets are looked for", len(secrets))
	}
	check(t, "stopped.tar.gz", all[:2])
	for _, name := range []string{"running.tar.gz", "people.tar.gz", "fault.tar.gz"} {
		for file, text := range readBundle(t, filepath.Join(w.dir, name)) {
			for _, secret := range secrets {
				for _, encoded := range encodings(secret) {
					if strings.Contains(text, encoded) {
						t.Errorf("%s of %s has a secret of the store", file, name)
					}
				}
			}
		}
	}
}

// TestScrubber_FindsEveryEncoding: a secret is found wherever it begins in a text that was encoded as a whole.
func TestScrubber_FindsEveryEncoding(t *testing.T) {
	const secret = "p@ss/word+\"7"
	s := newScrubber(config.Redacted{Withheld: []string{secret}}, nil)
	texts := encodings([]byte(secret))
	for skip := range 4 {
		texts = append(texts, base64.StdEncoding.EncodeToString([]byte(strings.Repeat("u", skip)+secret+"end")))
	}
	texts = append(texts, `{"x":"p@ss/word+\"7"}`)
	for _, text := range texts {
		if got := s.clean([]byte("before " + text + " after")); !strings.Contains(string(got), "[redacted]") {
			t.Errorf("%q stays", text)
		}
	}
	if got := string(s.clean([]byte("harmless"))); got != "harmless" {
		t.Errorf("a harmless text becomes %q", got)
	}
}
