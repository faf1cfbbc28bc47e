package audit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSearch_SurvivesFilesThatAreCutOff: a mapped file that becomes shorter while it is searched is an error, and does not
// end the process.
func TestSearch_SurvivesFilesThatAreCutOff(t *testing.T) {
	var text []byte
	end := link{}
	for len(text) < 2*partSize*partCount {
		e := Event{Time: time.Now().UTC(), Kind: KindCut, User: "ada", Path: string(bytes.Repeat([]byte("x"), 500_000))}
		text, end = end.append(text, e.appendFields(nil))
	}
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	closed := rotatedPath(path, 1, time.Now())
	if err := os.WriteFile(closed, text, 0o600); err != nil {
		t.Fatal(err)
	}
	record, err := OpenRecord(path)
	if err != nil {
		t.Fatal(err)
	}
	defer record.Close()
	found := 0
	err = record.Search(t.Context(), Search{Kinds: []Kind{KindCut}}, func(Found) error {
		if found++; found == 1 {
			return os.Truncate(closed, 1<<20)
		}
		return nil
	})
	if !errors.Is(err, errCutOff) || found == 0 {
		t.Errorf("after %d lines: %v", found, err)
	}
}
