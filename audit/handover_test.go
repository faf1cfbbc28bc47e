package audit_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sallyport/audit"
)

func started(detail string) audit.Event {
	return audit.Event{Time: time.Now().UTC(), Kind: audit.KindStart, Detail: map[string]string{"version": detail}}
}

// demandLength demands that the record at path is sound and has n lines.
func demandLength(t *testing.T, path string, n int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := audit.Verify(f); err != nil || got != n {
		t.Errorf("the record has %d lines, want %d, %v", got, n, err)
	}
}

// TestRelease: after Release, events wait; then either this process goes on, or each is written once by another.
func TestRelease(t *testing.T) {
	for _, taken := range []bool{false, true} {
		t.Run(fmt.Sprintf("taken_%v", taken), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.jsonl")
			log, err := audit.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			var writers sync.WaitGroup
			const each, count = 200, 8
			begun := make(chan struct{}, count)
			for range count {
				writers.Go(func() {
					for n := range each {
						if n == each/2 {
							begun <- struct{}{}
						}
						if err := log.Write(started("old")); err != nil {
							t.Error(err)
						}
					}
				})
			}
			<-begun
			if err := log.Release(); err != nil {
				t.Fatal(err)
			}
			if err := log.Err(); err != nil {
				t.Errorf("a record that was released counts as failed: %v", err)
			}
			other, err := audit.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			total := each * count
			if taken {
				log.Relay(other.WriteJSON)
				if err := other.Write(started("new")); err != nil {
					t.Fatal(err)
				}
				total++
			} else {
				if err := other.Close(); err != nil {
					t.Fatal(err)
				}
				log.Retake()
			}
			writers.Wait()
			if err := log.Close(); err != nil {
				t.Error(err)
			}
			if taken {
				if err := other.Close(); err != nil {
					t.Error(err)
				}
			}
			demandLength(t, path, total)
		})
	}
}

// TestRelease_Refused: an error of the other process is that of the event, and what does not reach it lets nobody in.
func TestRelease_Refused(t *testing.T) {
	log, err := audit.Open(filepath.Join(t.TempDir(), "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	log.AllowUnrecorded(func(error, int) {})
	if err := log.Release(); err != nil {
		t.Fatal(err)
	}
	gone := fmt.Errorf("%w: the other process has gone", audit.ErrUnwritable)
	log.Relay(func([]byte) error { return gone })
	if err := log.Write(audit.Event{Time: time.Now().UTC(), Kind: audit.KindLogin}); !errors.Is(err, gone) {
		t.Errorf("an event gets %v", err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}

// TestRelease_OtherWrote: a record to which another process has written since is not gone on with.
func TestRelease_OtherWrote(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	log, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Release(); err != nil {
		t.Fatal(err)
	}
	other, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(other.Write(started("new")), other.Close()); err != nil {
		t.Fatal(err)
	}
	log.Retake()
	if err := log.Write(started("old")); !errors.Is(err, audit.ErrUnwritable) {
		t.Errorf("an event gets %v", err)
	}
	_ = log.Close()
	demandLength(t, path, 1)
}
