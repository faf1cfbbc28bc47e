package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/config"
	"sallyport/store/bolt"
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
		if s, err := readSince(t.Context(), path, nil, c.made); err != nil || s.known != c.known || !strings.Contains(s.note, c.note) || len(s.revoked) != 3 {
			t.Errorf("%s: known %v, %q, revoked %v", name, s.known, s.note, s.revoked)
		}
	}
}

// TestReadSince_MergesRecords: the last word about each user counts, whichever replica recorded it.
func TestReadSince_MergesRecords(t *testing.T) {
	now := time.Now().UTC()
	write := func(events ...audit.Event) string {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		l, err := audit.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if err := l.Write(e); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	at := func(minute int, user, reason string) audit.Event {
		return audit.Event{Time: now.Add(time.Duration(minute-60) * time.Minute), Kind: audit.KindSuspend, User: user, Reason: reason, Revision: uint64(minute), Detail: map[string]string{"why": "theft"}}
	}
	first := write(at(1, "a", "suspended"), at(4, "b", "unsuspended"), at(5, "c", "suspended"))
	second := write(at(2, "a", "unsuspended"), at(3, "b", "suspended"), at(6, "c", "unsuspended"))
	third := write(at(7, "c", "suspended"), at(8, "d", "suspended"))
	for name, c := range map[string]struct {
		own    string
		others []string
		want   string
	}{
		"alone": {first, nil, "map[a:theft c:theft]"},
		"two":   {first, []string{second}, "map[]"},
		"other": {second, []string{first}, "map[]"},
		"all":   {second, []string{third, first}, "map[c:theft d:theft]"},
	} {
		s, err := readSince(t.Context(), c.own, c.others, now.Add(-time.Hour).Add(90*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(s.suspended); got != c.want || s.note != "" && name != "other" && name != "all" {
			t.Errorf("%s: suspended are %s, want %s; %s", name, got, c.want, s.note)
		}
	}
	if _, err := readSince(t.Context(), first, []string{filepath.Join(t.TempDir(), "none")}, now.Add(-time.Hour)); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "--record") {
		t.Errorf("a record that is missing gives %v", err)
	}
}

// TestReadSince_SaysWhatReviewsRevoked: a restore without the former store says which memberships count again that a review
// revoked after the backup was made: the identity provider never removes them by itself.
func TestReadSince_SaysWhatReviewsRevoked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for row, reasons := range [][]string{{"revoked"}, {"revoked", "kept"}, {"kept"}, {"revoked", "cleared"}, {"revoked", "failed"}, {"revoked"}} {
		for _, reason := range reasons {
			e := audit.Event{Time: time.Now().UTC(), Kind: audit.KindReview, Reason: reason, User: "id", UserName: fmt.Sprintf("u%d", row),
				Detail: map[string]string{"review": "r1", "row": strconv.Itoa(row), "groups": "Members", "action": "revoked"}}
			if err := l.Write(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	st, err := bolt.Open(filepath.Join(t.TempDir(), "s.db"), bolt.Options{Init: true, Copy: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	s, err := readSince(t.Context(), path, nil, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	m := &restoredStore{store: st}
	w := newWorld(t)
	file, err := config.Load(filepath.Join(w.dir, "sallyport.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.deny(t.Context(), nil, s, file, restoreOptions{}); err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(m.notes, "\n"); !strings.Contains(notes, "count again, since their store is not there: u0 (Members), u5 (Members);") {
		t.Errorf("the notes are %q", notes)
	}
}
