package audit_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sallyport/audit"
)

// run runs l until the test ends.
func run(t *testing.T, l *audit.Log) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = l.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended; _ = l.Close() })
}

func TestRun_RecoversWhenDiskDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		l, err := audit.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		run(t, l)
		for range 3 {
			if err := l.Write(audit.Event{Kind: audit.KindLogin}); err != nil {
				t.Fatal(err)
			}
		}
		release := fillDisk(t)
		for range 2 {
			if err := l.Write(audit.Event{Kind: audit.KindDecision}); err == nil {
				t.Error("a write to a full disk succeeds")
			}
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if l.Err() == nil || l.Write(audit.Event{Kind: audit.KindDecision}) == nil {
			t.Error("the log accepts events while the disk is full")
		}
		waited := make(chan error, 1)
		go func() { waited <- l.Writable(t.Context()) }()
		release()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := <-waited; err != nil || l.Err() != nil {
			t.Errorf("after the disk recovered: %v, %v", err, l.Err())
		}
		if err := l.Write(audit.Event{Kind: audit.KindLogout}); err != nil {
			t.Fatal(err)
		}
		record, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := audit.Verify(bytes.NewReader(record)); n != 5 || err != nil {
			t.Errorf("the record has %d sound lines, %v:\n%s", n, err, record)
		}
		lines := strings.Split(string(record), "\n")
		if !strings.Contains(lines[3], `"kind":"audit"`) || !strings.Contains(lines[3], `"reason":"recovered"`) || !strings.Contains(lines[3], `"refused":"3"`) {
			t.Errorf("the line about the gap is %s", lines[3])
		}
		if got := testutil.ToFloat64(l.Collectors()[1]); got != 3 {
			t.Errorf("%v write errors are counted, want every refused event", got)
		}
	})
}

// TestRun_DoesNotRecoverOnAnotherFile: the log continues only the record that it wrote.
func TestRun_DoesNotRecoverOnAnotherFile(t *testing.T) {
	for name, replace := range map[string]func(path string) error{
		"removed": os.Remove,
		"emptied": func(path string) error { return os.Truncate(path, 0) },
		"changed": func(path string) error {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, bytes.ReplaceAll(text, []byte("ada"), []byte("eve")), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "audit.jsonl")
				l, err := audit.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				run(t, l)
				if err := l.Write(audit.Event{Kind: audit.KindLogin, UserName: "ada"}); err != nil {
					t.Fatal(err)
				}
				release := fillDisk(t)
				if err := l.Write(audit.Event{Kind: audit.KindDecision}); err == nil {
					t.Error("a write to a full disk succeeds")
				}
				release()
				if err := replace(path); err != nil {
					t.Fatal(err)
				}
				time.Sleep(3 * time.Second)
				synctest.Wait()
				if err := l.Err(); err == nil || !strings.Contains(err.Error(), "restart") {
					t.Errorf("the log goes on with another file: %v", err)
				}
			})
		})
	}
}

func TestWritable_EndsWithLogOrContext(t *testing.T) {
	l, err := audit.Open(filepath.Join(t.TempDir(), "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Writable(t.Context()), l.Close()); err != nil {
		t.Fatal(err)
	}
	if err := l.Writable(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed log gives %v", err)
	}
	full, err := audit.Open(filepath.Join(t.TempDir(), "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	defer fillDisk(t)()
	for range 2 {
		_ = full.Write(audit.Event{Kind: audit.KindDecision})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := full.Writable(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled context gives %v", err)
	}
}
