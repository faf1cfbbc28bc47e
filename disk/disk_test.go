package disk_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sallyport/disk"
	"sallyport/disk/disktest"
)

// small mounts a file system of size bytes and returns its path.
func small(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	disktest.Mount(t, dir, size)
	return dir
}

func create(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// TestExtend_HoldsOnFullDisk: what was allocated can be written, and what was not cannot.
func TestExtend_HoldsOnFullDisk(t *testing.T) {
	dir := small(t, "1m")
	extended, beyond := create(t, filepath.Join(dir, "extended")), create(t, filepath.Join(dir, "beyond"))
	if _, err := beyond.WriteString("begin"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(disk.Extend(extended, 0, 200<<10), disk.Keep(beyond, 5, 200<<10)); err != nil {
		t.Fatal(err)
	}
	if info, err := beyond.Stat(); err != nil || info.Size() != 5 {
		t.Errorf("a file that keeps blocks has %d bytes, %v", info.Size(), err)
	}
	if err := os.WriteFile(filepath.Join(dir, "fill"), make([]byte, 1<<20), 0o600); !disk.IsFull(err) {
		t.Fatalf("filling the disk gives %v", err)
	}
	data := bytes.Repeat([]byte("x"), 200<<10)
	if _, err := extended.WriteAt(data, 0); err != nil {
		t.Error(err)
	}
	if _, err := beyond.WriteAt(data, 5); err != nil {
		t.Error(err)
	}
	if _, err := beyond.WriteAt(data, 5+200<<10); !disk.IsFull(err) {
		t.Errorf("writing beyond what was allocated gives %v", err)
	}
	if err := disk.Extend(extended, 200<<10, 400<<10); !disk.IsFull(err) {
		t.Errorf("allocating more gives %v", err)
	}
	if info, err := extended.Stat(); err != nil || info.Size() != 200<<10 {
		t.Errorf("after a failed allocation the file has %d bytes, %v", info.Size(), err)
	}
}

func TestReserve_FitsDisk(t *testing.T) {
	for size, want := range map[string]int64{"256k": 0, "1m": 128 << 10, "4m": 512 << 10, "64m": 1 << 20} {
		t.Run(size, func(t *testing.T) {
			f := create(t, filepath.Join(small(t, size), "file"))
			if got := disk.Reserve(f, 1<<20); got != want {
				t.Errorf("the reserve is %d, want %d", got, want)
			}
			if got := disk.Reserve(f, 0); got != 0 {
				t.Errorf("the reserve is %d where none is wished for", got)
			}
		})
	}
}
