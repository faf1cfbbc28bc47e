package audit_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/audit"
	"sallyport/disk/disktest"
)

// smallDisk mounts a file system of size bytes and returns its path.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	disktest.Mount(t, dir, size)
	return dir
}

// fill uses up the disk at dir.
func fill(t *testing.T, dir string) (release func()) {
	t.Helper()
	path := filepath.Join(dir, "fill")
	if err := os.WriteFile(path, make([]byte, 48<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk gives %v", err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// openReserved opens the record at path with a reserve.
func openReserved(t *testing.T, path string) *audit.Log {
	t.Helper()
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Reserve(256 << 10)
	return l
}

// decideUntilRefused writes decisions until one is refused.
func decideUntilRefused(t *testing.T, l *audit.Log) error {
	t.Helper()
	for range 100_000 {
		if err := l.Write(audit.Event{Kind: audit.KindDecision, Path: "/" + strings.Repeat("x", 500)}); err != nil {
			return err
		}
	}
	t.Fatal("no decision is refused on a full disk")
	return nil
}

// TestReserve_IsForOtherEvents: on a full disk decisions and logins are refused, and what
// takes access away is recorded, after a restart too.
func TestReserve_IsForOtherEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := smallDisk(t, "4m")
		path := filepath.Join(dir, "audit.jsonl")
		l := openReserved(t, path)
		release := fill(t, dir)
		if err := decideUntilRefused(t, l); !errors.Is(err, audit.ErrUnwritable) || !strings.Contains(err.Error(), "free some space") {
			t.Errorf("a decision on a full disk gives %v", err)
		}
		if err := l.Write(audit.Event{Kind: audit.KindLogin}); !errors.Is(err, audit.ErrUnwritable) {
			t.Errorf("a login on a full disk gives %v", err)
		}
		end := func(l *audit.Log) {
			t.Helper()
			for n := range 300 {
				if err := l.Write(audit.Event{Kind: audit.KindEnd}); err != nil {
					t.Fatalf("ending number %d: %v", n, err)
				}
			}
		}
		end(l)
		if err := l.Err(); !errors.Is(err, audit.ErrUnwritable) {
			t.Errorf("the record says %v", err)
		}
		if err := l.Writable(t.Context()); err != nil {
			t.Errorf("events other than decisions are not writable: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = openReserved(t, path)
		run(t, l)
		end(l)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if err := decideUntilRefused(t, l); !errors.Is(err, audit.ErrUnwritable) {
			t.Errorf("later, a decision gives %v", err)
		}
		release()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := errors.Join(l.Err(), l.Write(audit.Event{Kind: audit.KindDecision})); err != nil {
			t.Errorf("with space again: %v", err)
		}
		record, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := audit.Verify(bytes.NewReader(record)); err != nil {
			t.Errorf("after %d lines: %v", n, err)
		}
		if got := bytes.Count(record, []byte(`"kind":"end"`)); got != 600 {
			t.Errorf("%d of 600 ends are recorded", got)
		}
		if got := bytes.Count(record, []byte(`"reason":"recovered"`)); got != 1 {
			t.Errorf("the record tells %d times of what was refused", got)
		}
	})
}

// TestReserve_DoesNotHideFailures: a write that fails although blocks are allocated is
// a failure as without a reserve, and ends like one.
func TestReserve_DoesNotHideFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		l := openReserved(t, path)
		run(t, l)
		if err := l.Write(audit.Event{Kind: audit.KindEnd}); err != nil {
			t.Fatal(err)
		}
		release := fillDisk(t)
		if err := l.Write(audit.Event{Kind: audit.KindEnd}); !errors.Is(err, syscall.EFBIG) {
			t.Errorf("a write beyond the limit gives %v", err)
		}
		release()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := errors.Join(l.Err(), l.Write(audit.Event{Kind: audit.KindDecision})); err != nil {
			t.Error(err)
		}
		record, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := audit.Verify(bytes.NewReader(record)); n != 3 || err != nil {
			t.Errorf("%d lines, %v", n, err)
		}
	})
}
