package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
)

// TestReadSince_KnowsItsBounds: a record that ends before a backup was made does not say what was revoked since, and neither
// does the time of a clock that was wrong.
func TestReadSince_KnowsItsBounds(t *testing.T) {
	now := time.Now().UTC()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, token := range []string{"t1", "t2", "t3"} {
		e := audit.Event{Time: now.Add(time.Duration(i-3) * time.Hour), Kind: audit.KindToken, Reason: "revoked", Detail: map[string]string{"token": token}}
		if err := l.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		made  time.Time
		known bool
		note  string
	}{
		"whole":        {now.Add(-150 * time.Minute), true, ""},
		"just_before":  {now.Add(-time.Hour + 20*time.Second), true, ""},
		"ends_before":  {now.Add(-30 * time.Minute), false, "ends at"},
		"begins_after": {now.Add(-5 * time.Hour), false, "begins at"},
		"clock_ahead":  {now.Add(1000 * time.Hour), false, "ends at"},
	} {
		if s := readSince(t.Context(), path, c.made); s.known != c.known || !strings.Contains(s.note, c.note) || len(s.revoked) != 3 {
			t.Errorf("%s: known %v, %q, revoked %v", name, s.known, s.note, s.revoked)
		}
	}
}
