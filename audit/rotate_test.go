package audit_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/audit"
)

// TestRun_BeginsNewRecordAfterRename: logrotate renames the file, and may put an empty one
// in its place. Both records are whole, and the new one names the end of the former.
func TestRun_BeginsNewRecordAfterRename(t *testing.T) {
	for name, create := range map[string]bool{"nocreate": false, "create": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "audit.jsonl")
				l := openReserved(t, path)
				run(t, l)
				if err := errors.Join(l.Append([]byte(`{"kind":"scim","user":"u"}`), 7), l.Write(audit.Event{Kind: audit.KindDecision})); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(path, path+".1"); err != nil {
					t.Fatal(err)
				}
				if create {
					if err := os.WriteFile(path, nil, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				var writers sync.WaitGroup
				for range 8 {
					writers.Go(func() {
						for range 30 {
							if err := l.Write(audit.Event{Kind: audit.KindDecision}); err != nil {
								t.Error(err)
							}
							time.Sleep(100 * time.Millisecond)
						}
					})
				}
				writers.Wait()
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				former, err := os.ReadFile(path + ".1")
				if err != nil {
					t.Fatal(err)
				}
				record, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				n, err1 := audit.Verify(bytes.NewReader(former))
				m, err2 := audit.Verify(bytes.NewReader(record))
				if err := errors.Join(err1, err2); err != nil || n+m != 2+1+8*30 || m < 2 {
					t.Errorf("the records have %d and %d lines, %v", n, m, err)
				}
				lines := strings.Split(strings.TrimSpace(string(former)), "\n")
				last := lines[len(lines)-1]
				hash := last[strings.LastIndex(last, `:"`)+2 : len(last)-2]
				if first, _, _ := strings.Cut(string(record), "\n"); !strings.Contains(first, `"reason":"rotated"`) || !strings.Contains(first, `"former_hash":"`+hash+`"`) {
					t.Errorf("the new record begins with %s, and the former ends with %s", first, hash)
				}
				again, err := audit.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				if got := again.LastRevision(); got != 7 {
					t.Errorf("the new record is at revision %d, want 7", got)
				}
				_ = again.Close()
			})
		})
	}
}

// TestRun_RefusesEventsOnceLinesAreLost: nobody would find the lines that were acknowledged.
func TestRun_RefusesEventsOnceLinesAreLost(t *testing.T) {
	for name, lose := range map[string]func(path string) error{
		"removed":  os.Remove,
		"emptied":  func(path string) error { return os.Truncate(path, 0) },
		"replaced": func(path string) error { return errors.Join(os.Remove(path), os.WriteFile(path, []byte("x\n"), 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "audit.jsonl")
				l := openReserved(t, path)
				run(t, l)
				if err := errors.Join(l.Write(audit.Event{Kind: audit.KindDecision}), lose(path)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(3 * time.Second)
				synctest.Wait()
				if err := l.Write(audit.Event{Kind: audit.KindDecision}); !errors.Is(err, audit.ErrUnwritable) || !strings.Contains(err.Error(), "restart the server") {
					t.Errorf("the log goes on: %v", err)
				}
			})
		})
	}
}

// TestRun_GoesOnWhileNewRecordCannotBegin: a folder that is gone for a while does not matter
// to a record that is open.
func TestRun_GoesOnWhileNewRecordCannotBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "audit")
		path := filepath.Join(dir, "audit.jsonl")
		l := openReserved(t, path)
		run(t, l)
		if err := errors.Join(l.Write(audit.Event{Kind: audit.KindDecision}), os.Rename(dir, dir+".old")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if err := errors.Join(l.Err(), l.Write(audit.Event{Kind: audit.KindDecision})); err != nil {
			t.Error(err)
		}
		if err := os.Rename(dir+".old", dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := errors.Join(l.Write(audit.Event{Kind: audit.KindDecision}), l.Close()); err != nil {
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
