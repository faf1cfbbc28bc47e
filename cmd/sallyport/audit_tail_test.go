package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"sallyport/audit"
)

// openRecord opens a record whose Run runs until the test ends.
func openRecord(t *testing.T) (*audit.Log, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = l.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait(); _ = l.Close() })
	return l, path
}

func record(t *testing.T, l *audit.Log, e audit.Event) {
	t.Helper()
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	if err := l.Write(e); err != nil {
		t.Fatal(err)
	}
}

// lockedBuffer can be read while a command writes to it.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// startTail follows the record at path until the test ends.
func startTail(t *testing.T, path string, filter *recordFilter) (out, notes *lockedBuffer) {
	t.Helper()
	out, notes = new(lockedBuffer), new(lockedBuffer)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	tail := &recordTail{filter: filter, out: out, notes: notes}
	go func() { done <- tail.run(ctx, []string{path}, path, tailLines, true) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return out, notes
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// TestAuditTail_FollowsIntoNewFile renames the record, as logrotate does, while it is written and followed: no line is
// missing, none is printed twice.
func TestAuditTail_FollowsIntoNewFile(t *testing.T) {
	l, path := openRecord(t)
	record(t, l, audit.Event{Kind: audit.KindSuspend, Reason: "suspended", User: "user-0"})
	out, notes := startTail(t, path, &recordFilter{kinds: []string{"suspend"}})
	eventually(t, "the first line is printed", func() bool { return out.String() != "" })
	written := 1
	for i := range 3 {
		for range 50 {
			record(t, l, audit.Event{Kind: audit.KindSuspend, Reason: "suspended", User: "user-" + strconv.Itoa(written)})
			written++
		}
		if err := os.Rename(path, path+"."+strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
		for range 50 { // into the renamed file, until the log sees it
			record(t, l, audit.Event{Kind: audit.KindSuspend, Reason: "suspended", User: "user-" + strconv.Itoa(written)})
			written++
		}
		eventually(t, "a new file has begun", func() bool { _, err := os.Stat(path); return err == nil })
		record(t, l, audit.Event{Kind: audit.KindSuspend, Reason: "suspended", User: "user-" + strconv.Itoa(written)})
		written++
		eventually(t, "every line is printed", func() bool { return strings.Count(out.String(), "\n") >= written })
	}
	var seen []string
	for line := range strings.Lines(out.String()) {
		seen = append(seen, line[strings.Index(line, "user=user-")+len("user=user-"):len(line)-1])
	}
	for i := range written {
		if i >= len(seen) || seen[i] != strconv.Itoa(i) {
			t.Fatalf("line %d of %d is missing or out of order: %v", i, written, seen[max(0, i-3):min(len(seen), i+3)])
		}
	}
	if len(seen) != written || notes.String() != "" {
		t.Errorf("%d lines of %d; notes: %s", len(seen), written, notes.String())
	}
}

// slowWriter takes no second line before it is told to.
type slowWriter struct {
	lockedBuffer
	once sync.Once
	more chan struct{}
}

func (w *slowWriter) Write(p []byte) (int, error) {
	n, err := w.lockedBuffer.Write(p)
	w.once.Do(func() { <-w.more })
	return n, err
}

// TestAuditTail_FollowsSeveralRotations: whoever reads slowly misses no file, though the log closed several meanwhile.
func TestAuditTail_FollowsSeveralRotations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Rotate(audit.Rotation{Size: 2000}, func(err error) { t.Error(err) })
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = l.Run(ctx) })
	out, notes := &slowWriter{more: make(chan struct{})}, new(lockedBuffer)
	written := 0
	write := func() {
		record(t, l, audit.Event{Kind: audit.KindSuspend, Reason: "suspended", User: "user-" + strconv.Itoa(written)})
		written++
	}
	write()
	running.Go(func() {
		tail := &recordTail{filter: &recordFilter{kinds: []string{"suspend"}}, out: out, notes: notes}
		if err := tail.run(ctx, []string{path}, path, tailLines, true); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the first line is printed", func() bool { return out.String() != "" })
	closed := func() int {
		files, _ := filepath.Glob(strings.TrimSuffix(path, ".jsonl") + "-*.jsonl")
		return len(files)
	}
	for n := range 3 {
		for range 20 {
			write()
		}
		eventually(t, "a file is closed", func() bool { return closed() > n })
	}
	write()
	close(out.more)
	eventually(t, "every line is printed", func() bool { return strings.Count(out.String(), "\n") >= written })
	i := 0
	for line := range strings.Lines(out.String()) {
		if !strings.HasSuffix(line, "user=user-"+strconv.Itoa(i)+"\n") {
			t.Fatalf("line %d is %s", i, line)
		}
		i++
	}
	if i != written || notes.String() != "" {
		t.Errorf("%d lines of %d; notes: %s", i, written, notes.String())
	}
	stop()
	running.Wait()
	_ = l.Close()
}

// TestAuditTail_TellsOfMissingLines: lines that were removed, or are no events, do not go by unseen.
func TestAuditTail_TellsOfMissingLines(t *testing.T) {
	lines := bytes.SplitAfter(writtenRecord(t, 6), []byte("\n"))
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	text := slices.Concat(lines[0], lines[2], []byte("{\"a\x1b[2J\n"), lines[4], lines[5])
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var out, notes bytes.Buffer
	tail := &recordTail{filter: new(recordFilter), out: &out, notes: &notes}
	if err := tail.run(t.Context(), []string{path}, "", tailLines, false); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n != 4 {
		t.Errorf("%d lines: %s", n, out.String())
	}
	if got := notes.String(); !strings.Contains(got, "line 3 of "+path+" does not follow line 1") || !strings.Contains(got, "is no event") || strings.Contains(got, "\x1b") {
		t.Errorf("notes: %q", got)
	}
}

var quotedText = regexp.MustCompile(`"(\\.|[^"\\])*"`)

// hostile are texts that drive terminals, or that look like something else.
var hostile = []string{"\x1b[2J\x1b]0;title\x07", "\u009b31m", "a\nforged line", "a\rb", "\u202eevil\u2066", "del\x7f", "\u2028", "x route=admin", `"`, "\xff\xfe"}

// TestAuditTail_CannotDriveTerminal: whatever stands in a record, each event is one line of plain characters.
func TestAuditTail_CannotDriveTerminal(t *testing.T) {
	l, path := openRecord(t)
	for _, text := range hostile {
		record(t, l, audit.Event{Kind: audit.Kind(strings.ToValidUTF8(text, "?")), UserName: text, Method: text, Host: text, Path: text, Reason: text, Route: text, Rule: text, Decision: text,
			Group: text, Session: text, User: text, Request: text, Address: text, Actor: audit.Actor{Kind: audit.ActorKind(text), Name: text, Address: text, Session: text},
			Detail: map[string]string{text: text}})
	}
	show := func(name string, run func(out io.Writer) error) string {
		t.Helper()
		var out bytes.Buffer
		if err := run(&out); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, r := range out.String() {
			if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
				t.Fatalf("%s prints %U", name, r)
			}
		}
		return out.String()
	}
	text := show("text", func(out io.Writer) error {
		return (&recordTail{filter: new(recordFilter), out: out, notes: io.Discard}).run(t.Context(), []string{path}, "", tailLines, false)
	})
	if strings.Count(text, "\n") != len(hostile) || strings.Contains(quotedText.ReplaceAllString(text, ""), "route=admin") {
		t.Errorf("%d lines for %d events:\n%s", strings.Count(text, "\n"), len(hostile), text)
	}
	lines := show("jsonl", func(out io.Writer) error {
		return (&recordTail{filter: new(recordFilter), json: true, out: out, notes: io.Discard}).run(t.Context(), []string{path}, "", tailLines, false)
	})
	for _, format := range []string{"jsonl", "json", "csv"} {
		show("export "+format, func(out io.Writer) error {
			return exportPath(path, new(recordFilter), newLineWriter(out, format, true))
		})
	}
	for i, line := range slices.Collect(strings.Lines(lines)) {
		var e audit.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.UserName != strings.ToValidUTF8(hostile[i], "\uFFFD\uFFFD") && e.UserName != hostile[i] {
			t.Errorf("%q became %q (%v)", hostile[i], e.UserName, err)
		}
	}
}

// TestAuditExport_KeepsEveryByte: a file gets the lines as they are, so that their hashes can be checked.
func TestAuditExport_KeepsEveryByte(t *testing.T) {
	l, path := openRecord(t)
	for _, text := range append(hostile, "=HYPERLINK(1)", "plain") {
		record(t, l, audit.Event{Kind: audit.KindLogin, UserName: text, Detail: map[string]string{"value": text}})
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	export := func(format string) string {
		var out bytes.Buffer
		if err := exportPath(path, new(recordFilter), newLineWriter(&out, format, false)); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got := export("jsonl"); got != string(whole) {
		t.Error("jsonl is not the record")
	}
	var all []audit.Line
	if err := json.Unmarshal([]byte(export("json")), &all); err != nil || len(all) != len(hostile)+2 || all[0].Hash == "" || all[1].Seq != 2 {
		t.Errorf("json: %v, %d lines", err, len(all))
	}
	rows, err := csv.NewReader(strings.NewReader(export("csv"))).ReadAll()
	if err != nil || len(rows) != len(hostile)+3 {
		t.Fatalf("csv: %v, %d rows", err, len(rows))
	}
	for _, row := range rows {
		for _, cell := range row {
			if strings.HasPrefix(cell, "=") {
				t.Errorf("a formula: %q", cell)
			}
		}
	}
	var none bytes.Buffer
	if err := exportPath(path, &recordFilter{routes: []string{"none"}}, newLineWriter(&none, "json", false)); err != nil || json.Unmarshal(none.Bytes(), &all) != nil || len(all) != 0 {
		t.Errorf("nothing as json: %v %q", err, none.String())
	}
}

// TestEachLineBackward_FindsEveryLine compares it with reading forward, with lines of every length about the size of a
// chunk.
func TestEachLineBackward_FindsEveryLine(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 40 {
		var text []byte
		type found struct {
			at   int64
			text string
		}
		var want []found
		for range 1 + random.IntN(8) {
			line := strings.Repeat(string(rune('a'+random.IntN(26))), 1+random.IntN(backwardChunk*3/2))
			if round%2 == 0 {
				line = line[:min(len(line), 1+random.IntN(50))]
			}
			if round%5 == 0 && len(want) > 0 {
				line = strings.Repeat("x", max(1, backwardChunk-len(want[len(want)-1].text)-2+random.IntN(3)))
			}
			want = append(want, found{int64(len(text)), line})
			text = fmt.Appendf(text, "%s\n", line)
		}
		var got []found
		err := eachLineBackward(bytes.NewReader(text), int64(len(text)), func(at int64, line []byte) bool {
			got = append(got, found{at, string(line)})
			return true
		})
		slices.Reverse(got)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("round %d: %v, %d lines of %d", round, err, len(got), len(want))
		}
	}
}

// TestRecordFilter_Person: an event is about a person by their id, or by their name where there is none; what they did
// counts too, and what an operator of that name did does not.
func TestRecordFilter_Person(t *testing.T) {
	known, gone := recordPerson{"u1", "ada@example.com"}, recordPerson{"", "ada@example.com"}
	for name, tt := range map[string]struct {
		e            audit.Event
		known, gone_ bool
	}{
		"by id":             {audit.Event{User: "u1", UserName: "former@example.com"}, true, false},
		"namesake":          {audit.Event{User: "u2", UserName: "ada@example.com"}, false, true},
		"without an id":     {audit.Event{UserName: "ADA@example.com"}, true, true},
		"other":             {audit.Event{User: "u2", UserName: "bob@example.com"}, false, false},
		"acted":             {audit.Event{User: "u2", Actor: audit.Actor{Kind: audit.ActorUser, ID: "u1", Name: "ada@example.com"}}, true, true},
		"operator's name":   {audit.Event{Actor: audit.Actor{Kind: audit.ActorOperator, Name: "ada@example.com"}}, false, false},
		"nobody":            {audit.Event{}, false, false},
		"token of the name": {audit.Event{Actor: audit.Actor{Kind: audit.ActorToken, Name: "ada@example.com"}}, false, false},
	} {
		if known.in(&tt.e) != tt.known || gone.in(&tt.e) != tt.gone_ {
			t.Errorf("%s: %v, %v", name, known.in(&tt.e), gone.in(&tt.e))
		}
	}
	if byID := (recordPerson{"", "u1"}); !byID.in(&audit.Event{User: "u1", UserName: "x"}) || byID.in(&audit.Event{User: "u2"}) {
		t.Error("a user who was removed is not found by id")
	}
}

// TestBoundValue_Set: a day begins and ends in UTC, and how far back is counted from now.
func TestBoundValue_Set(t *testing.T) {
	now := time.Date(2026, 5, 10, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string][2]string{
		"2026-05-03":                {"2026-05-03T00:00:00Z", "2026-05-03T23:59:59Z"},
		"2026-05-03T18:00:00+02:00": {"2026-05-03T16:00:00Z", "2026-05-03T16:00:00Z"},
		"2d":                        {"2026-05-08T12:00:00Z", "2026-05-08T12:00:00Z"},
		"90m":                       {"2026-05-10T10:30:00Z", "2026-05-10T10:30:00Z"},
		"yesterday":                 {"", ""}, "-3d": {"", ""}, "2026-13-01": {"", ""}, "": {"", ""},
	} {
		for i, end := range []bool{false, true} {
			v := boundValue{end: end, now: func() time.Time { return now }}
			if err := v.Set(text); (err != nil) != (want[i] == "") || v.String() != want[i] {
				t.Errorf("%q (end %v): %v %q", text, end, err, v.String())
			}
		}
	}
}

// exportPath exports one file.
func exportPath(path string, filter *recordFilter, to lineWriter) error {
	record, err := audit.OpenFiles([]string{path})
	if err != nil {
		return err
	}
	defer record.Close()
	return exportRecord(record, filter, to)
}
