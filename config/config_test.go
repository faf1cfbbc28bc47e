package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"sallyport/config"
)

// TestLoad_ReportsEveryFault: every file of testdata/faults.txtar is rejected with the messages that follow it in the
// archive, in their order, each with its position.
func TestLoad_ReportsEveryFault(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/faults.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(archive.Files); i += 2 {
		file, want := archive.Files[i], archive.Files[i+1]
		t.Run(file.Name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), file.Name)
			if err := os.WriteFile(path, file.Data, 0o600); err != nil {
				t.Fatal(err)
			}
			loaded, err := config.Load(path)
			var faults config.Faults
			if loaded != nil || !errors.As(err, &faults) {
				t.Fatalf("loading gives %v, %v", loaded, err)
			}
			got := strings.ReplaceAll(err.Error(), path, "FILE") + "\n"
			rest := got
			for line := range strings.Lines(string(want.Data)) {
				_, after, ok := strings.Cut(rest, strings.TrimSpace(line))
				if !ok {
					t.Errorf("no message, or none in this order, reads\n%s\nin\n%s", line, got)
					continue
				}
				rest = after
			}
		})
	}
}

// writeExample writes the example and the files it names to a folder, and returns the path of the example.
func writeExample(t *testing.T) (path string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"tls.crt": "x", "tls.key": "x", "secrets/oidc": "x", "sallyport.yaml": string(config.Example())} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "sallyport.yaml")
}

func TestLoad_PathsStartAtFolderOfFile(t *testing.T) {
	path := writeExample(t)
	f, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	for got, want := range map[string]string{f.TLS.CertFile: "tls.crt", f.Store.Bolt.Path: "data/sallyport.db",
		f.Control.Socket: "data/control.sock", f.Audit.File: "data/audit.jsonl", f.OIDC.ClientSecretFile: "secrets/oidc"} {
		if got != filepath.Join(dir, want) {
			t.Errorf("%s is at %s", want, got)
		}
	}
}

func TestLoad_NamesUnreadableFiles(t *testing.T) {
	path := writeExample(t)
	dir := filepath.Dir(path)
	for _, name := range []string{"tls.crt", "secrets/oidc"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := config.Load(path)
	for _, want := range []string{"tls.cert_file: cannot be read", "oidc.client_secret_file: cannot be read", filepath.Join(dir, "secrets/oidc")} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

func TestLoad_KeepsAbsoluteAndEmptyPathsAlone(t *testing.T) {
	path := writeExample(t)
	absolute := filepath.Join(t.TempDir(), "elsewhere.db")
	text := strings.Replace(string(config.Example()), "path: data/sallyport.db", "path: "+absolute, 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if f.Store.Bolt.Path != absolute || f.OIDC.CAFile != "" {
		t.Errorf("the store is at %s, want %s; the CA file is %q, want none", f.Store.Bolt.Path, absolute, f.OIDC.CAFile)
	}
}

func TestLoad_AcceptsLargestFile(t *testing.T) {
	path := writeExample(t)
	text := string(config.Example()) + "#"
	if err := os.WriteFile(path, []byte(text+strings.Repeat("x", 1<<20-len(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(path); err != nil {
		t.Error(err)
	}
}

func TestLoad_RejectsLargeFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(path, make([]byte, 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(path); err == nil || !strings.Contains(err.Error(), "1048576") {
		t.Errorf("loading gives %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(config.Example())
	archive, err := txtar.ParseFile("testdata/faults.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range archive.Files {
		f.Add(file.Data)
	}
	path := filepath.Join(f.TempDir(), "sallyport.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if loaded, err := config.Load(path); (loaded == nil) == (err == nil) {
			t.Errorf("loading gives %v, %v", loaded, err)
		}
		if salvaged, err := config.Salvage(path); salvaged == nil {
			t.Errorf("salvaging gives nothing, %v", err)
		}
	})
}
