package audit_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
)

// writeRecord writes lines a second apart, every tenth of another kind, in files of the least size.
func writeRecord(t testing.TB, lines int) (path string, began time.Time) {
	t.Helper()
	path, began = filepath.Join(t.TempDir(), "audit.jsonl"), time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range lines {
		e := audit.Event{Time: began.Add(time.Duration(i) * time.Second), Kind: audit.KindDecision, UserName: fmt.Sprintf("user%04d@example.com", i%1000), Path: "/" + strings.Repeat("x", i%300), Decision: "allow"}
		if i%10 == 0 {
			e.Kind = audit.KindCut
		}
		if err := l.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return path, began
}

func searchBack(t *testing.T, ctx context.Context, path string, s audit.Search, before uint64, until time.Time, most int) (seqs []uint64, reached audit.Reached, err error) {
	t.Helper()
	record, err := audit.OpenRecord(path)
	if err != nil {
		t.Fatal(err)
	}
	defer record.Close()
	reached, err = record.SearchBack(ctx, s, before, until, func(l audit.Found) bool {
		seqs = append(seqs, l.Seq)
		return len(seqs) < most
	})
	return seqs, reached, err
}

func TestSearchBack_FindsWhatTheRecordHas(t *testing.T) {
	const lines = 5000
	path, began := writeRecord(t, lines)
	all := func(is func(seq uint64) bool) (want []uint64) {
		for seq := uint64(lines); seq > 0; seq-- {
			if is(seq) {
				want = append(want, seq)
			}
		}
		return want
	}
	for name, c := range map[string]struct {
		search audit.Search
		before uint64
		until  time.Time
		is     func(uint64) bool
	}{
		"everything":    {is: func(uint64) bool { return true }},
		"a_kind":        {search: audit.Search{Kinds: []audit.Kind{audit.KindCut}}, is: func(seq uint64) bool { return seq%10 == 1 }},
		"a_text":        {search: audit.Search{Texts: []audit.Text{{Key: "user_name", Value: "USER0042@example.com"}}}, is: func(seq uint64) bool { return seq%1000 == 43 }},
		"before_a_line": {before: 2345, is: func(seq uint64) bool { return seq < 2345 }},
		"before_first":  {before: 1, is: func(uint64) bool { return false }},
		"before_second": {before: 2, is: func(seq uint64) bool { return seq < 2 }},
		"beyond_last":   {before: lines + 100, is: func(uint64) bool { return true }},
		"until":         {until: began.Add(100 * time.Second), is: func(seq uint64) bool { return seq <= 101 }},
		"since":         {search: audit.Search{Since: began.Add(4000 * time.Second)}, is: func(seq uint64) bool { return seq > 4000 }},
		"since_until":   {search: audit.Search{Since: began.Add(4000 * time.Second)}, until: began.Add(4010 * time.Second), is: func(seq uint64) bool { return seq > 4000 && seq <= 4011 }},
		"until_before":  {until: began.Add(-time.Hour), is: func(uint64) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			got, reached, err := searchBack(t, t.Context(), path, c.search, c.before, c.until, 1<<30)
			if err != nil || !reached.Done {
				t.Fatalf("%+v, %v", reached, err)
			}
			if want := all(c.is); !slices.Equal(got, want) {
				t.Errorf("it finds %d lines, want %d: %v", len(got), len(want), got[:min(len(got), 5)])
			}
		})
	}
}

// TestSearchBack_GoesOn: pages of a search have each line once.
func TestSearchBack_GoesOn(t *testing.T) {
	path, _ := writeRecord(t, 1234)
	var all []uint64
	for before := uint64(0); ; {
		page, reached, err := searchBack(t, t.Context(), path, audit.Search{}, before, time.Time{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, page...); reached.Done {
			break
		}
		before = reached.Line
	}
	if len(all) != 1234 || !slices.IsSortedFunc(all, func(a, b uint64) int { return int(b) - int(a) }) {
		t.Errorf("%d lines, %v", len(all), all[:5])
	}
}

// TestSearchBack_EndsWithItsContext: a search that finds nothing ends after a window, and goes on from there.
func TestSearchBack_EndsWithItsContext(t *testing.T) {
	path, _ := writeRecord(t, 20_000)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	steps := 0
	for before := uint64(0); ; steps++ {
		found, reached, err := searchBack(t, ctx, path, audit.Search{Texts: []audit.Text{{Value: "user of nowhere"}}}, before, time.Time{}, 100)
		if err != nil || len(found) > 0 || before > 0 && reached.Line >= before && !reached.Done {
			t.Fatalf("%v %+v, %v", found, reached, err)
		}
		if reached.Done || reached.Line == 1 {
			break
		}
		before = reached.Line
	}
	if steps < 10 {
		t.Errorf("%d steps", steps)
	}
}

func TestSearchBack_NoticesChangedLines(t *testing.T) {
	path, _ := writeRecord(t, 50)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), "user0020", "user0021", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	found, _, err := searchBack(t, t.Context(), path, audit.Search{}, 0, time.Time{}, 100)
	if file := (*audit.FileError)(nil); !errors.As(err, &file) || len(found) > 0 {
		t.Errorf("it finds %d lines, %v", len(found), err)
	}
}
