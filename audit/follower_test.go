package audit_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/audit"
)

// growing is a record that is rotated often.
type growing struct {
	t    *testing.T
	path string
	log  *audit.Log
	stop func()
}

// newGrowing begins a record whose files are closed after a few lines. It must run in a bubble of synctest.
func newGrowing(t *testing.T) *growing {
	t.Helper()
	g := &growing{t: t, path: filepath.Join(t.TempDir(), "audit.jsonl")}
	l, err := audit.Open(g.path)
	if err != nil {
		t.Fatal(err)
	}
	l.Rotate(audit.Rotation{Size: 600, Keep: audit.Keep(240 * time.Hour)}, func(err error) { t.Error(err) })
	g.log, g.stop = l, runUntil(l)
	return g
}

func (g *growing) end() {
	g.stop()
	if err := g.log.Close(); err != nil {
		g.t.Error(err)
	}
}

// write writes lines about users, each a second after the other, and waits until they are on the disk.
func (g *growing) write(first, last int) {
	for i := first; i <= last; i++ {
		decide(g.t, g.log, fmt.Sprintf("u%d", i))
		time.Sleep(1100 * time.Millisecond)
	}
}

// read returns the users of what a follower reads, "-" for lines of the record itself, and the lines that are lost.
func (g *growing) read(f *audit.Follower, limits audit.Limits) (users string, lost []audit.Gap, replaced bool) {
	g.t.Helper()
	var all []string
	for {
		s, err := f.Next(g.log.Durable().Line, limits)
		if err != nil {
			g.t.Fatal(err)
		}
		lost, replaced = append(lost, s.Lost...), replaced || s.Replaced
		if len(s.Entries) == 0 {
			return strings.Join(all, " "), lost, replaced
		}
		if len(s.Entries) > limits.Lines || s.End != s.Entries[len(s.Entries)-1].End {
			g.t.Errorf("a step has %d entries and ends at %+v", len(s.Entries), s.End)
		}
		for _, e := range s.Entries {
			if e.User != "" {
				all = append(all, e.User)
			}
		}
	}
}

var someLines = audit.Limits{Lines: 3, Bytes: 1 << 20}

func usersFrom(first, last int) string {
	var all []string
	for i := first; i <= last; i++ {
		all = append(all, fmt.Sprintf("u%d", i))
	}
	return strings.Join(all, " ")
}

// TestFollower_ReadsEveryFile: a follower reads every line once and in order while files are closed, and another goes on
// after each of its places.
func TestFollower_ReadsEveryFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrowing(t)
		defer g.end()
		f := audit.NewFollower(g.path, audit.Place{})
		var got []string
		for i := range 4 {
			g.write(5*i, 5*i+4)
			users, lost, replaced := g.read(f, someLines)
			if got = append(got, users); len(lost) > 0 || replaced {
				t.Errorf("lost %v, replaced %v", lost, replaced)
			}
		}
		if all := strings.Join(got, " "); all != usersFrom(0, 19) || len(closedFiles(t, g.path)) < 5 {
			t.Errorf("read %s over %d closed files", all, len(closedFiles(t, g.path)))
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		g.demandEveryPlace()
	})
}

// demandEveryPlace goes on after each line of the record, with and without knowing where it is in its file.
func (g *growing) demandEveryPlace() {
	g.t.Helper()
	f := audit.NewFollower(g.path, audit.Place{})
	s, err := f.Next(g.log.Durable().Line, audit.Limits{Lines: 1000, Bytes: 1 << 20})
	for next := s; err == nil && len(next.Entries) > 0; {
		next, err = f.Next(g.log.Durable().Line, audit.Limits{Lines: 1000, Bytes: 1 << 20})
		s.Entries = append(s.Entries, next.Entries...)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	for i, e := range s.Entries {
		for name, at := range map[string]audit.Place{"known": e.End, "unknown": {Line: e.Seq, Hash: e.Hash},
			"wrong offset": {First: e.End.First, Offset: e.End.Offset - 1, Line: e.Seq, Hash: e.Hash}, "wrong file": {First: 1, Offset: e.End.Offset, Line: e.Seq, Hash: e.Hash}} {
			after := audit.NewFollower(g.path, at)
			step, err := after.Next(g.log.Durable().Line, audit.Limits{Lines: 1, Bytes: 1 << 20})
			if i+1 < len(s.Entries) && (len(step.Entries) != 1 || step.Entries[0].Seq != e.Seq+1) || i+1 == len(s.Entries) && len(step.Entries) > 0 || err != nil || len(step.Lost) > 0 || step.Replaced {
				g.t.Fatalf("after line %d, its place %s: %+v, %v", e.Seq, name, step, err)
			}
			_ = after.Close()
		}
	}
}

// TestFollower_CountsWhatIsMissing: lines whose file was deleted or that were changed are told as lost, each once, and what
// is after them is read.
func TestFollower_CountsWhatIsMissing(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, closed []string) (lost audit.Gap){
		"file deleted": func(t *testing.T, closed []string) audit.Gap {
			first := firstSeq(t, closed[1])
			must(t, os.Remove(closed[1]))
			return audit.Gap{From: first, To: firstSeq(t, closed[2]) - 1}
		},
		"files deleted": func(t *testing.T, closed []string) audit.Gap {
			must(t, os.Remove(closed[0]))
			must(t, os.Remove(closed[1]))
			return audit.Gap{From: 2, To: firstSeq(t, closed[2]) - 1}
		},
		"line changed": func(t *testing.T, closed []string) audit.Gap {
			first, text := firstSeq(t, closed[1]), read(t, closed[1])
			must(t, os.WriteFile(closed[1], bytes.Replace(text, []byte(`"user":"u`), []byte(`"user":"v`), 1), 0o600))
			return audit.Gap{From: first + 1, To: first + 1}
		},
		"file cut off": func(t *testing.T, closed []string) audit.Gap {
			first, text := firstSeq(t, closed[1]), read(t, closed[1])
			must(t, os.WriteFile(closed[1], text[:bytes.IndexByte(text, '\n')+1], 0o600))
			return audit.Gap{From: first + 1, To: firstSeq(t, closed[2]) - 1}
		},
		"file of zeros": func(t *testing.T, closed []string) audit.Gap {
			first := firstSeq(t, closed[1])
			must(t, os.WriteFile(closed[1], make([]byte, 1<<21), 0o600))
			return audit.Gap{From: first, To: firstSeq(t, closed[2]) - 1}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGrowing(t)
				defer g.end()
				g.write(0, 9)
				f := audit.NewFollower(g.path, audit.Place{})
				all, err := f.Next(g.log.Durable().Line, audit.Limits{Lines: 1, Bytes: 1})
				if err != nil || len(all.Entries) != 1 || all.Entries[0].User != "u0" {
					t.Fatalf("%+v, %v", all, err)
				}
				_ = f.Close() // so that the file is not open
				seqs := g.seqOfUsers()
				gap := damage(t, closedFiles(t, g.path))
				var want []string
				for i := 1; i < 10; i++ {
					if user := fmt.Sprintf("u%d", i); seqs[user] < gap.From || seqs[user] > gap.To {
						want = append(want, user)
					}
				}
				users, lost, replaced := g.read(audit.NewFollower(g.path, all.End), someLines)
				if users != strings.Join(want, " ") || len(want) > 8 || replaced || !slices.Equal(lost, []audit.Gap{gap}) {
					t.Errorf("read %s (want %s), lost %v (want %v), replaced %v", users, want, lost, gap, replaced)
				}
			})
		})
	}
}

// seqOfUsers returns the number of the line of each user.
func (g *growing) seqOfUsers() map[string]uint64 {
	all := map[string]uint64{}
	for _, path := range append(closedFiles(g.t, g.path), g.path) {
		for text := range bytes.Lines(read(g.t, path)) {
			l, err := audit.ParseLine(text)
			must(g.t, err)
			all[l.User] = l.Seq
		}
	}
	return all
}

func firstSeq(t *testing.T, path string) uint64 {
	t.Helper()
	line, _, _ := bytes.Cut(read(t, path), []byte("\n"))
	l, err := audit.ParseLine(line)
	must(t, err)
	return l.Seq
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return text
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestFollower_FromTheStart: a record whose first files were deleted begins where it begins, and a first line that was
// changed is lost.
func TestFollower_FromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrowing(t)
		defer g.end()
		g.write(0, 7)
		closed := closedFiles(t, g.path)
		must(t, os.Remove(closed[0]))
		first := firstSeq(t, closed[1])
		if _, lost, replaced := g.read(audit.NewFollower(g.path, audit.Place{}), someLines); len(lost) > 0 || replaced {
			t.Errorf("lost %v, replaced %v", lost, replaced)
		}
		must(t, os.WriteFile(closed[1], bytes.Replace(read(t, closed[1]), []byte(`"kind"`), []byte(`"kink"`), 1), 0o600))
		if _, lost, replaced := g.read(audit.NewFollower(g.path, audit.Place{}), someLines); !slices.Equal(lost, []audit.Gap{{From: first, To: first}}) || replaced {
			t.Errorf("lost %v, want line %d; replaced %v", lost, first, replaced)
		}
	})
}

// TestFollower_OfAnotherRecord: if the record does not have the line to go on after, it is read from its beginning, and
// that is told.
func TestFollower_OfAnotherRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrowing(t)
		defer g.end()
		g.write(0, 7)
		other := strings.Repeat("0", 64)
		for name, at := range map[string]audit.Place{
			"another line":     {First: 1, Offset: 300, Line: 3, Hash: other},
			"in a later file":  {Line: g.log.Durable().Line - 1, Hash: other},
			"beyond the end":   {First: 1, Offset: 1 << 40, Line: 1000, Hash: other},
			"another first":    {First: 1, Offset: 10, Line: 1, Hash: other},
			"end of the first": {First: 999, Offset: 10, Line: g.log.Durable().Line, Hash: other},
		} {
			users, lost, replaced := g.read(audit.NewFollower(g.path, at), someLines)
			if users != usersFrom(0, 7) || len(lost) > 0 || !replaced {
				t.Errorf("%s: read %s, lost %v, replaced %v", name, users, lost, replaced)
			}
		}
	})
}

// TestFollower_ReadsWhatIsDurable: a line that a crash could take back is not read before it is on the disk.
func TestFollower_ReadsWhatIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrowing(t)
		defer g.end()
		f := audit.NewFollower(g.path, audit.Place{})
		decide(t, g.log, "ada")
		if users, _, _ := g.read(f, someLines); users != "" {
			t.Errorf("before it is on the disk, %q is read", users)
		}
		time.Sleep(1100 * time.Millisecond)
		if users, _, _ := g.read(f, someLines); users != "ada" {
			t.Errorf("once it is on the disk, %q is read", users)
		}
	})
}
