package audit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRun_FailedSyncEndsWriting: lines that may not survive a crash are no record.
// A pipe stands for a disk that fails, since it cannot be synced.
func TestRun_FailedSyncEndsWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := Open(filepath.Join(t.TempDir(), "audit.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx) }()

		if err := l.Write(Event{Kind: KindLogin}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(syncEvery)
		synctest.Wait()
		if err := l.Write(Event{Kind: KindLogin}); err != nil {
			t.Fatalf("after a sync: %v", err)
		}
		time.Sleep(syncEvery)
		synctest.Wait()

		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		l.mu.Lock()
		file := l.file
		l.file = w
		l.mu.Unlock()
		time.Sleep(syncEvery)
		synctest.Wait()
		if err := l.Write(Event{Kind: KindLogin}); err != nil {
			t.Fatalf("nothing was written since the last sync, so none must be tried: %v", err)
		}
		time.Sleep(syncEvery)
		synctest.Wait()
		if err := l.Write(Event{Kind: KindLogin}); err == nil || !strings.Contains(err.Error(), "forced to the disk") {
			t.Errorf("after a failed sync: %v", err)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ends with %v", err)
		}
		_, _ = file.Close(), w.Close()
	})
}
