package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestControl_SocketIsForOwnerAlone: only the user of the server (and root) can open the control socket, in whatever
// folder it is.
func TestControl_SocketIsForOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	path := filepath.Join(dir, "control.sock")
	l, err := listenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, want := range map[string]os.FileMode{path: os.ModeSocket | 0o600, dir: os.ModeDir | 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s is %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}
