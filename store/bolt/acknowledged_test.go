package bolt_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/store"
	"sallyport/store/bolt"
)

// newestMeta returns the offset of the meta page of the last commit.
func newestMeta(t *testing.T, path string) int64 {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	size := os.Getpagesize()
	transaction := func(page int) uint64 { return binary.NativeEndian.Uint64(text[page*size+16+48:]) }
	if transaction(1) > transaction(0) {
		return int64(size)
	}
	return 0
}

// overwrite writes text at offset into the file at path.
func overwrite(t *testing.T, path string, offset int64, text []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(text, offset); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func closeStore(t *testing.T, s *bolt.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOpen_RejectsLostCommit: without its newest meta page a file is sound, and one commit older.
func TestOpen_RejectsLostCommit(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, path string, before []byte){
		"meta_page_damaged": func(t *testing.T, path string, _ []byte) {
			overwrite(t, path, newestMeta(t, path)+16, make([]byte, 64))
		},
		"meta_page_never_written": func(t *testing.T, path string, before []byte) {
			offset := newestMeta(t, path)
			overwrite(t, path, offset, before[offset:offset+int64(os.Getpagesize())])
		},
		"older_file": func(t *testing.T, path string, before []byte) {
			if err := os.WriteFile(path, before, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"another_history": func(t *testing.T, path string, before []byte) {
			if err := os.WriteFile(path, before, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := bolt.Open(path, bolt.Options{Copy: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := put(s, "key-000004", "another value"); err != nil {
				t.Fatal(err)
			}
			closeStore(t, s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := fileWithRecords(t, 10)
			s := open(t, path)
			if err := put(s, "key-000003", "revoked"); err != nil {
				t.Fatal(err)
			}
			before := readFile(t, path)
			if err := put(s, "key-000004", "revoked"); err != nil {
				t.Fatal(err)
			}
			closeStore(t, s)
			lose(t, path, before)

			for range 2 { // the refusal changes nothing
				_, err := bolt.Open(path, bolt.Options{})
				if !errors.Is(err, store.ErrBehind) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "accept-loss") {
					t.Fatalf("opening gives %v", err)
				}
			}
			acceptLoss(t, path, 3)
		})
	}
}

// acceptLoss opens the store at path although it is behind, and demands that the revisions go on after acknowledged.
func acceptLoss(t *testing.T, path string, acknowledged store.Revision) {
	t.Helper()
	s, err := bolt.Open(path, bolt.Options{Behind: true})
	if err != nil {
		t.Fatal(err)
	}
	if rev, err := s.Update(context.Background(), func(store.Writer) error { return nil }); err != nil || rev > acknowledged {
		t.Errorf("an update without writes gives revision %d, %v", rev, err)
	}
	s.Continue(40)
	rev, err := s.Update(context.Background(), func(w store.Writer) error {
		if w.Revision() != 41 {
			t.Errorf("the revision being written is %d", w.Revision())
		}
		return w.Put([]byte("loss"), []byte("accepted"))
	})
	if err != nil || rev != 41 {
		t.Fatalf("the first change is revision %d, %v", rev, err)
	}
	for change, err := range s.Watch(context.Background(), 40) {
		if err != nil || change.Revision != 41 {
			t.Errorf("watching gives %v, %v", change, err)
		}
		break
	}
	closeStore(t, s)
	closeStore(t, open(t, path))
}

// TestOpen_ReadsAcknowledgedRevision: one slot may be half written, and the store may be one commit ahead: whoever asked
// for that commit was not told. Damage of both slots is doubt.
func TestOpen_ReadsAcknowledgedRevision(t *testing.T) {
	const slot = 4096
	for name, c := range map[string]struct {
		change func(t *testing.T, path string, before []byte)
		opens  bool
	}{
		"as_written":   {func(*testing.T, string, []byte) {}, true},
		"first_slot":   {func(t *testing.T, path string, _ []byte) { overwrite(t, path, 9, []byte{0xff}) }, true},
		"second_slot":  {func(t *testing.T, path string, _ []byte) { overwrite(t, path, slot+9, []byte{0xff}) }, true},
		"both_slots":   {func(t *testing.T, path string, _ []byte) { overwrite(t, path, 0, make([]byte, 2*slot)) }, false},
		"empty":        {func(t *testing.T, path string, _ []byte) { _ = os.Truncate(path, 0) }, false},
		"missing":      {func(t *testing.T, path string, _ []byte) { _ = os.Remove(path) }, true},
		"commit_ahead": {func(t *testing.T, path string, before []byte) { _ = os.WriteFile(path, before, 0o600) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := fileWithRecords(t, 10)
			s := open(t, path)
			before := readFile(t, path+".revision")
			if err := put(s, "key-000003", "revoked"); err != nil {
				t.Fatal(err)
			}
			want := readFile(t, path+".revision")
			closeStore(t, s)
			if bytes.Equal(before, want) || len(want) != len(before) {
				t.Fatal("a commit does not change the file, or makes it longer")
			}
			c.change(t, path+".revision", before)
			s, err := bolt.Open(path, bolt.Options{})
			if !c.opens {
				if !errors.Is(err, store.ErrBehind) {
					t.Errorf("opening gives %v", err)
				}
				acceptLoss(t, path, 2)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			closeStore(t, s)
			lost := newestMeta(t, path)
			overwrite(t, path, lost+16, make([]byte, 64))
			if _, err := bolt.Open(path, bolt.Options{}); !errors.Is(err, store.ErrBehind) {
				t.Errorf("after it was opened once, a lost commit gives %v", err)
			}
		})
	}
}

// TestOpen_WithoutAcknowledgedRevision: a store that has no file beside it, such as one of an older version, may not have
// lost a meta page.
func TestOpen_WithoutAcknowledgedRevision(t *testing.T) {
	for _, page := range []int64{0, int64(os.Getpagesize())} {
		path := fileWithRecords(t, 10)
		if err := os.Remove(path + ".revision"); err != nil {
			t.Fatal(err)
		}
		overwrite(t, path, page+16+20, []byte{0xff})
		if _, err := bolt.Open(path, bolt.Options{}); !errors.Is(err, store.ErrBehind) || !strings.Contains(err.Error(), "accept-loss") {
			t.Errorf("with the meta page at %d damaged, opening gives %v", page, err)
		}
		acceptLoss(t, path, 2)
	}
}

// TestOpen_KeepsNothingBesideCopy: a copy is a file of its own.
func TestOpen_KeepsNothingBesideCopy(t *testing.T) {
	path := fileWithRecords(t, 10)
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(copied, readFile(t, path), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := bolt.Open(copied, bolt.Options{Copy: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := put(s, "key", "value"); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	if _, err := os.Stat(copied + ".revision"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("beside the copy there is something: %v", err)
	}
}

// BenchmarkStore_Update measures one writer with a file that says what was acknowledged, and without.
func BenchmarkStore_Update(b *testing.B) {
	for name, options := range map[string]bolt.Options{"acknowledged": {}, "copy": {Copy: true}} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			if at := os.Getenv("BENCH_DIR"); at != "" {
				dir = at
			}
			options.Init = true
			s, err := bolt.Open(filepath.Join(dir, name+".db"), options)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			for b.Loop() {
				if err := put(s, "key", "value"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
