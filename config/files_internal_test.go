package config

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestCheckWritable: what stands in the place of a file that the server writes.
func TestCheckWritable(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{"empty": "", "text": "something else\n"} {
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("unix", path("sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := os.Mkdir(path("folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ key, path, want string }{
		{storeKey, path("new"), ""},
		{storeKey, path("text"), "names another file"},
		{storeKey, path("folder"), "is not an ordinary file"},
		{storeKey, path("pipe"), "is not an ordinary file"},
		{storeKey, path("text/below"), "cannot be read and written"},
		{auditKey, path("new"), ""},
		{auditKey, path("empty"), ""},
		{auditKey, path("text"), "names another file"},
		{auditKey, path("folder"), "is not an ordinary file"},
		{controlKey, path("new"), ""},
		{controlKey, path("sock"), ""},
		{controlKey, path("empty"), "which is not a socket"},
		{controlKey, path("folder"), "which is not a socket"},
		{controlKey, path(strings.Repeat("a", maxSocketPath)), "the path of a Unix socket at most"},
	} {
		err := checkWritable(namedFile{c.key, c.path})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s at %s: %v, want %q", c.key, c.path, err, c.want)
		}
	}
}

func TestSameFile(t *testing.T) {
	dir := t.TempDir()
	a, b, link := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "link")
	for _, path := range []string{a, b} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	below := filepath.Join(dir, "below")
	if err := errors.Join(os.Symlink(a, link), os.Symlink(dir, below)); err != nil {
		t.Fatal(err)
	}
	for pair, want := range map[[2]string]bool{{a, a}: true, {a, dir + "/./a"}: true, {a, link}: true, {a, b}: false, {a, dir + "/none"}: false, {dir + "/none", a}: false, {dir + "/none", dir + "/other"}: false,
		{a, below + "/a"}: true, {dir + "/none", below + "/none"}: true, {dir + "/no/ne", below + "/no/ne"}: true, {dir + "/none", below + "/other"}: false, {dir + "/no/ne", below + "/ne"}: false} {
		if got := sameFile(pair[0], pair[1]); got != want {
			t.Errorf("%q: %t, want %t", pair, got, want)
		}
	}
}
