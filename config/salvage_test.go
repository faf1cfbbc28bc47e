package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/config"
)

const salvaged = `public_url: https://login.example.com
listen: {public: 127.0.0.1:8443, scim: 127.0.0.1:8444, ops: 127.0.0.1:9999}
store: {bolt: {path: elsewhere/store.db}}
control:
  socket: elsewhere/control.sock
`

func TestSalvage_ReturnsWhatCanBeRead(t *testing.T) {
	for name, broken := range map[string]string{
		"unknown_key":      "publik_url: x\n",
		"unreadable_files": "tls: {cert_file: missing.crt, key_file: missing.key}\n",
		"wrong_type":       "routes: 7\n",
		"open_bracket":     "routes: [\n",
		"tab":              "routes:\n\t- name: x\n",
		"open_quote":       "log: {level: \"info}\n",
		"duplicate_key":    "listen: {public: 127.0.0.1:1}\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sallyport.yaml")
			if err := os.WriteFile(path, []byte(broken+salvaged), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := config.Salvage(path)
			if _, ok := errors.AsType[config.Faults](err); !ok {
				t.Errorf("the error is %v", err)
			}
			want := filepath.Join(filepath.Dir(path), "elsewhere")
			if f.Store.Bolt == nil || f.Store.Bolt.Path != filepath.Join(want, "store.db") || f.Control.Socket != filepath.Join(want, "control.sock") {
				t.Errorf("the store is %+v, the control socket %s", f.Store.Bolt, f.Control.Socket)
			}
			if name != "duplicate_key" && f.Listen.Ops != "127.0.0.1:9999" {
				t.Errorf("the ops listener is %s", f.Listen.Ops)
			}
		})
	}
}

func TestSalvage_EqualsLoadForSoundFile(t *testing.T) {
	f, err := config.Salvage(writeExample(t))
	if err != nil || f.Store.Bolt == nil {
		t.Errorf("salvaging gives %+v, %v", f, err)
	}
}

func TestSalvage_ReturnsNothingWithoutFile(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{filepath.Join(dir, "sallyport.yaml"): "name one with -c FILE", dir: "is a folder"} {
		f, err := config.Salvage(path)
		if f != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("salvaging %s gives %v, %v", path, f, err)
		}
	}
}
