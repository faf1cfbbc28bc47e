package bolt_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/store/bolt"
)

func TestCheckFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.db")
	if err := bolt.CheckFile(path); err != nil {
		t.Errorf("without a file: %v", err)
	}
	s, err := bolt.Open(path, bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := bolt.CheckFile(path); err != nil {
		t.Errorf("of a store in use: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content []byte
		ok      bool
	}{
		"empty":                    {nil, true},
		"first_meta_page_is_lost":  {append(make([]byte, os.Getpagesize()), data[os.Getpagesize():]...), true},
		"text":                     {[]byte("public_url: https://login.example.com\n"), false},
		"long_text":                {[]byte(strings.Repeat("a line\n", 20000)), false},
		"as_short_as_a_page_begin": {data[:20], true},
		"shorter":                  {data[:19], false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := bolt.CheckFile(path); (err == nil) != c.ok {
				t.Errorf("%v", err)
			}
		})
	}
}
