package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/audit"
)

// searchable writes a record of several files whose lines have all sorts of lengths, and returns what was written.
func searchable(t *testing.T) (path string, events []audit.Event) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "audit.jsonl")
	synctest.Test(t, func(t *testing.T) { events = writeSearchable(t, path) })
	return path, events
}

func writeSearchable(t *testing.T, path string) (events []audit.Event) {
	l := newKeeper(t).resume(t, path, audit.Rotation{Size: 1 << 20})
	stop := runUntil(l)
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"ada@example.com", "Ada@Example.COM", "ad", "ADA", "Åse@example.com", "åSE@example.com", `quo"te\`, "ЮЛИЯ", "юлия", "adam@example.com", "b"}
	for i := range 4000 {
		length := random.IntN(600)
		if i%500 == 499 {
			length = 300_000 + random.IntN(400_000) // longer than what is read at once
		}
		e := audit.Event{Time: time.Now().UTC(), Kind: audit.KindDecision, User: fmt.Sprintf("%032x", i%97), UserName: names[i%len(names)], Path: "/" + strings.Repeat("a", length)}
		if i%50 == 0 {
			e.Kind = audit.KindCut
		}
		if i%1000 == 0 {
			time.Sleep(3 * time.Second) // a new file begins
		}
		if err := l.Write(e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	stop()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return events
}

func search(t *testing.T, path string, s audit.Search) (found []audit.Found, err error) {
	t.Helper()
	record, err := audit.OpenRecord(path)
	if err != nil {
		t.Fatal(err)
	}
	defer record.Close()
	err = record.Search(t.Context(), s, func(f audit.Found) error { found = append(found, f); return nil })
	return found, err
}

// TestSearch_FindsWhatReadingFinds: each line that is looked for is found, once and in order, wherever it lies in its file.
func TestSearch_FindsWhatReadingFinds(t *testing.T) {
	path, events := searchable(t)
	for name, c := range map[string]struct {
		search audit.Search
		wanted func(audit.Event) bool
	}{
		"id":       {audit.Search{Texts: []audit.Text{{Value: events[13].User}}}, func(e audit.Event) bool { return e.User == events[13].User }},
		"any_case": {audit.Search{Texts: []audit.Text{{"user_name", "ADA@EXAMPLE.com"}}}, func(e audit.Event) bool { return strings.EqualFold(e.UserName, "ada@example.com") }},
		"short":    {audit.Search{Texts: []audit.Text{{"user_name", "B"}}}, func(e audit.Event) bool { return e.UserName == "b" }},
		"accents":  {audit.Search{Texts: []audit.Text{{"user_name", "Åse@example.com"}}}, func(e audit.Event) bool { return strings.EqualFold(e.UserName, "åse@example.com") }},
		"cyrillic": {audit.Search{Texts: []audit.Text{{"user_name", "Юлия"}}}, func(e audit.Event) bool { return strings.EqualFold(e.UserName, "юлия") }},
		"escaped":  {audit.Search{Texts: []audit.Text{{"user_name", `quo"te\`}}}, func(e audit.Event) bool { return e.UserName == `quo"te\` }},
		"kind":     {audit.Search{Kinds: []audit.Kind{audit.KindCut}}, func(e audit.Event) bool { return e.Kind == audit.KindCut }},
		"kind_or_text": {audit.Search{Kinds: []audit.Kind{audit.KindCut}, Texts: []audit.Text{{Value: events[13].User}, {"user_name", "ad"}}},
			func(e audit.Event) bool {
				return e.Kind == audit.KindCut || e.User == events[13].User || e.UserName == "ad"
			}},
		"nothing": {audit.Search{}, func(audit.Event) bool { return false }},
		"nobody":  {audit.Search{Texts: []audit.Text{{"user_name", "nobody@example.com"}, {Value: strings.Repeat("e", 32)}}}, func(audit.Event) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := search(t, path, c.search)
			if err != nil {
				t.Fatal(err)
			}
			last, got := uint64(0), []string{}
			for _, f := range found {
				if l, err := audit.ParseLine(f.Text); err != nil || l.Hash != f.Hash || f.Seq <= last {
					t.Fatalf("line %d after %d: %v", f.Seq, last, err)
				}
				if last = f.Seq; c.wanted(f.Event) {
					got = append(got, f.User+f.Path)
				}
			}
			var want []string
			for _, e := range events {
				if c.wanted(e) {
					want = append(want, e.User+e.Path)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("found %d lines (%d of them are meant), want %d", len(found), len(got), len(want))
			}
		})
	}
	if _, err := search(t, path, audit.Search{Texts: []audit.Text{{Value: "ada"}}}); err == nil {
		t.Error("a text is looked for that is too short")
	}
}

// TestSearch_SkipsOldFiles: it does not read those that were closed long before the time that is asked about.
func TestSearch_SkipsOldFiles(t *testing.T) {
	path, _ := searchable(t)
	all, err := search(t, path, audit.Search{Kinds: []audit.Kind{audit.KindCut}})
	later, err2 := search(t, path, audit.Search{Kinds: []audit.Kind{audit.KindCut}, Since: time.Now()})
	if err = errors.Join(err, err2); err != nil || len(later) == 0 || len(later) >= len(all) {
		t.Errorf("%d lines, and %d of the file that is written to: %v", len(all), len(later), err)
	}
}

// TestRecord_ReadsOnAfterClockSetBack: a file that was closed after one that is read is read too, whatever time its name has.
func TestRecord_ReadsOnAfterClockSetBack(t *testing.T) {
	path, events := searchable(t)
	files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "audit-*"))
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	slices.Sort(files)
	ahead := time.Now().Add(48 * time.Hour).UTC() // the first was closed while the clock was ahead
	name := files[0][:len(files[0])-len("20060102T150405Z.jsonl")] + ahead.Format("20060102T150405Z") + ".jsonl"
	if err := os.Rename(files[0], name); err != nil {
		t.Fatal(err)
	}
	found, err := search(t, path, audit.Search{Kinds: []audit.Kind{audit.KindCut, audit.KindDecision}, Since: time.Now()})
	if err != nil || len(found) != len(events) {
		t.Errorf("%d lines of %d: %v", len(found), len(events), err)
	}
	record, err := audit.OpenRecord(path)
	if err != nil {
		t.Fatal(err)
	}
	defer record.Close()
	read := 0
	if _, err := record.Read(time.Now(), func(e audit.Event) error {
		if e.Kind == audit.KindCut || e.Kind == audit.KindDecision {
			read++
		}
		return nil
	}); err != nil || read != len(events) {
		t.Errorf("%d events of %d: %v", read, len(events), err)
	}
}

// TestSearch_NoticesChangedLines: a line that is found has its own hash, or the search fails and names it.
func TestSearch_NoticesChangedLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	write(t, path, "ada", "bob", "eve")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(text, []byte(`"user":"bob"`), []byte(`"user":"Bob"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = search(t, path, audit.Search{Texts: []audit.Text{{"user", "bob"}}})
	var where *audit.FileError
	if !errors.Is(err, audit.ErrBroken) || !errors.As(err, &where) || where.Path != path || !strings.Contains(err.Error(), "line 2 was changed") {
		t.Errorf("searching gives %v", err)
	}
	if found, err := search(t, path, audit.Search{Texts: []audit.Text{{"user", "eve"}}}); err != nil || len(found) != 1 {
		t.Errorf("searching for another gives %d lines, %v", len(found), err)
	}
	if err := os.WriteFile(path, append(text, `{"seq":4,"user":"eve"`...), 0o600); err != nil {
		t.Fatal(err)
	}
	if found, err := search(t, path, audit.Search{Texts: []audit.Text{{"user", "eve"}}}); err != nil || len(found) != 1 {
		t.Errorf("with a line that is being written: %d lines, %v", len(found), err)
	}
}

// TestRecord_FindsLinesByNumber: in every file, and no others.
func TestRecord_FindsLinesByNumber(t *testing.T) {
	path, events := searchable(t)
	record, err := audit.OpenRecord(path)
	if err != nil {
		t.Fatal(err)
	}
	defer record.Close()
	span, err := record.Span()
	if err != nil || span.First != 1 || span.Last < uint64(len(events)) || len(record.Paths()) < 3 {
		t.Fatalf("%+v in %d files: %v", span, len(record.Paths()), err)
	}
	for number := uint64(1); number <= span.Last; number += 13 {
		text, err := record.Line(number)
		if err != nil {
			t.Fatalf("line %d: %v", number, err)
		}
		if l, err := audit.ParseLine(text); err != nil || l.Seq != number {
			t.Fatalf("line %d is %d, %v", number, l.Seq, err)
		}
	}
	if text, err := record.Line(span.Last); err != nil || !bytes.Contains(text, []byte(span.LastHash)) {
		t.Errorf("the last line is %.80s, %v", text, err)
	}
	for _, number := range []uint64{0, span.Last + 1} {
		if _, err := record.Line(number); !errors.Is(err, audit.ErrNoLine) {
			t.Errorf("line %d: %v", number, err)
		}
	}
}

// FuzzSearch: the search finds a name wherever it stands, as reading does.
func FuzzSearch(f *testing.F) {
	f.Add("ada@example.com", "/x")
	f.Add(`\"`, `"user_name":"\\\""`)
	f.Add("ß", "\x00\n")
	f.Fuzz(func(t *testing.T, name, path string) {
		file := filepath.Join(t.TempDir(), "audit.jsonl")
		l, err := audit.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range []audit.Event{{UserName: "other", Path: path}, {UserName: name, Path: path}, {UserName: "x" + name}, {UserName: name}} {
			e.Time, e.Kind = time.Now().UTC(), audit.KindDecision
			if err := l.Write(e); err != nil {
				t.Skip()
			}
		}
		_ = l.Close()
		found, err := search(t, file, audit.Search{Texts: []audit.Text{{"user_name", name}}})
		if err != nil {
			t.Fatal(err)
		}
		var seen []uint64
		for _, l := range found {
			seen = append(seen, l.Seq)
		}
		if name != "" && (!slices.Contains(seen, 2) || !slices.Contains(seen, 4)) {
			t.Errorf("%q is found in lines %v", name, seen)
		}
	})
}
