package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"sallyport/audit"
)

// TestAuditVerify_AcceptsGrowingRecord reads a record while half lines are written to it.
func TestAuditVerify_AcceptsGrowingRecord(t *testing.T) {
	whole := writtenRecord(t, 3000)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	written := make(chan error, 1)
	go func() {
		var err error
		for line := range bytes.Lines(whole) {
			for _, part := range [][]byte{line[:len(line)/2], line[len(line)/2:]} {
				if _, failed := f.Write(part); failed != nil {
					err = failed
				}
			}
		}
		written <- err
	}()
	for {
		if err := verifyFiles(new(cobra.Command), []string{path}, audit.Trust{}); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-written:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
	}
}

// TestAuditVerify_RejectsTornLine: the rest of the last line never comes.
func TestAuditVerify_RejectsTornLine(t *testing.T) {
	whole := writtenRecord(t, 3)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(path, whole[:len(whole)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := verifyFiles(new(cobra.Command), []string{path}, audit.Trust{}); err == nil {
		t.Error("it is sound")
	}
}

// writtenRecord returns a record with so many events.
func writtenRecord(t *testing.T, events int) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for range events {
		if err := l.Write(audit.Event{Time: time.Now().UTC(), Kind: audit.KindDecision}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
