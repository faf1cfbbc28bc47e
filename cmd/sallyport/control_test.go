package main

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
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

// TestControl_ClosingRemovesOnlyItsOwnSocket: a server whose socket was taken away does not remove that of its successor.
func TestControl_ClosingRemovesOnlyItsOwnSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	first, err := listenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	second, err := listenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("unix", path); err != nil {
		t.Errorf("the second socket cannot be opened any more: %v", err)
	} else {
		_ = conn.Close()
	}
}

// TestControl_ReplacesNothingButAStaleSocket: a socket on which nobody listens is replaced, and anything else stays.
func TestControl_ReplacesNothingButAStaleSocket(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := os.WriteFile(target, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func(path string) error{
		"file":                 func(path string) error { return os.WriteFile(path, []byte("content"), 0o600) },
		"empty_file":           func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"folder":               func(path string) error { return os.Mkdir(path, 0o700) },
		"link_to_a_file":       func(path string) error { return os.Symlink(target, path) },
		"link_to_nothing":      func(path string) error { return os.Symlink(filepath.Join(dir, "nothing"), path) },
		"pipe":                 func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"socket_of_a_server":   func(path string) error { return socketAt(t, path, true) },
		"socket_of_a_killed":   func(path string) error { return socketAt(t, path, false) },
		"nothing_at_all_there": func(string) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			l, err := listenControl(path)
			if name == "socket_of_a_killed" || name == "nothing_at_all_there" {
				if err != nil {
					t.Fatal(err)
				}
				_ = l.Close()
				return
			}
			if err == nil {
				t.Error("it is taken for a socket of a former server")
				_ = l.Close()
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("it was %v, and is %v", before, after)
			}
		})
	}
	if content, err := os.ReadFile(target); err != nil || string(content) != "content" {
		t.Errorf("the target of the link holds %q, %v", content, err)
	}
}

// socketAt makes a Unix socket. On one of a killed server nobody listens.
func socketAt(t *testing.T, path string, listens bool) error {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	if !listens {
		return l.Close()
	}
	t.Cleanup(func() { _ = l.Close() })
	return nil
}
