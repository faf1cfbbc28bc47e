package audit_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sallyport/audit"
)

// TestResume_AfterCrashInRotation: a kill or a power failure between any two steps of a rotation loses no line, and the
// chain goes on.
func TestResume_AfterCrashInRotation(t *testing.T) {
	for name, crash := range map[string]func(path, closed string) error{
		// The next file was prepared, and nothing was renamed yet.
		"before_renames": func(path, closed string) error {
			return errors.Join(os.Rename(path, path+".new"), os.Rename(closed, path))
		},
		// The former was renamed, and the next one was not.
		"between_renames": func(path, closed string) error { return os.Rename(path, path+".new") },
		// The next file has its name, but the power failed before its first line was on the disk.
		"empty": func(path, closed string) error { return os.Truncate(path, 0) },
		"torn":  func(path, closed string) error { return os.Truncate(path, 100) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKeeper(t)
				path := filepath.Join(t.TempDir(), "audit.jsonl")
				l := k.resume(t, path, audit.Rotation{Size: 1800})
				stop := runUntil(l)
				if err := l.Append([]byte(`{"kind":"scim","user":"pushed"}`), 7); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				before := k.saved() // the mark after a rotation may not be stored any more
				decide(t, l, "ada")
				time.Sleep(1500 * time.Millisecond)
				stop()
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				closed := closedFiles(t, path)
				if len(closed) != 1 || before.Line == 0 {
					t.Fatalf("%q are closed after %+v", closed, before)
				}
				if err := crash(path, closed[0]); err != nil {
					t.Fatal(err)
				}
				k.mark = before
				l = k.resume(t, path, audit.Rotation{})
				if got := l.LastRevision(); got != 7 {
					t.Errorf("the record is at revision %d, want 7", got)
				}
				decide(t, l, "bob")
				if err := errors.Join(l.Checkpoint(), l.Close()); err != nil {
					t.Fatal(err)
				}
				if found, err := verify(t, path, k.trust()); err != nil || len(found.Gaps) != 0 {
					t.Errorf("%+v, %v", found, err)
				}
				if got := strings.Join(users(t, path, time.Time{}), " "); got != "pushed ada bob" {
					t.Errorf("the record is about %s", got)
				}
				if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the prepared file stays: %v", err)
				}
			})
		})
	}
}

// TestRun_DoesNotRotateOntoFullDisk: the reserve stays whole, and the file is closed once there is space.
func TestRun_DoesNotRotateOntoFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := smallDisk(t, "4m")
		path := filepath.Join(dir, "audit.jsonl")
		k := newKeeper(t)
		l := k.resume(t, path, audit.Rotation{Size: 1800})
		release := fill(t, dir)
		decide(t, l, "ada")
		run(t, l)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := len(closedFiles(t, path)); n != 0 {
			t.Fatalf("%d files are closed on a full disk", n)
		}
		for n := range 300 {
			if err := l.Write(audit.Event{Kind: audit.KindEnd}); err != nil {
				t.Fatalf("ending number %d: %v", n, err)
			}
		}
		release()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := len(closedFiles(t, path)); n != 1 {
			t.Errorf("%d files are closed when there is space", n)
		}
		release = fill(t, dir)
		for n := range 300 {
			if err := l.Write(audit.Event{Kind: audit.KindEnd}); err != nil {
				t.Fatalf("in the new file, ending number %d: %v", n, err)
			}
		}
		release()
		if found, err := verify(t, path, k.trust()); err != nil {
			t.Errorf("%+v, %v", found, err)
		}
	})
}

// TestResume_NewRecordNamesWhatIsMissing: whoever moves the file elsewhere while the server is stopped is told of in the
// first line of the next one. It has no revision, so that no change is missing from it.
func TestResume_NewRecordNamesWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t)
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		l := k.resume(t, path, audit.Rotation{})
		if err := errors.Join(l.Append([]byte(`{"kind":"scim","user":"pushed"}`), 7), l.Checkpoint(), l.Close(), os.Rename(path, path+".moved")); err != nil {
			t.Fatal(err)
		}
		l = k.resume(t, path, audit.Rotation{})
		if got := l.LastRevision(); got != 0 {
			t.Errorf("the new record is at revision %d", got)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		found, err := verify(t, path, k.trust())
		if want := (audit.Gap{From: 1, To: 2}); err != nil || found.First != 3 || len(found.Gaps) != 1 || found.Gaps[0] != want {
			t.Errorf("%+v, %v", found, err)
		}
		r, err := audit.OpenFiles([]string{path, path + ".moved"})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if found, err := r.Verify(k.trust()); err != nil || found.Lines != 3 || len(found.Gaps) != 0 {
			t.Errorf("both together: %+v, %v", found, err)
		}
	})
}

// TestResume_ReadsFromTheMark: what comes before it is not read at a start, whatever is in it.
func TestResume_ReadsFromTheMark(t *testing.T) {
	k := newKeeper(t)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := k.resume(t, path, audit.Rotation{})
	decide(t, l, "ada", "bob")
	if err := errors.Join(l.Append([]byte(`{"kind":"scim"}`), 7), l.Checkpoint()); err != nil {
		t.Fatal(err)
	}
	mark := k.saved()
	if err := errors.Join(l.Append([]byte(`{"kind":"scim"}`), 8), l.Close()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), `"user":"bob"`, `"user":"eve"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	k.mark = mark
	l = k.resume(t, path, audit.Rotation{})
	if got := l.LastRevision(); got != 8 {
		t.Errorf("the record is at revision %d, want 8", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := verify(t, path, k.trust()); !errors.Is(err, audit.ErrBroken) || !strings.Contains(err.Error(), "after 1 sound lines") {
		t.Errorf("verify says %v", err)
	}
}

// TestLog_SurvivesRotationsKillsAndDeletions: whatever happens to the process, and whoever renames the file, no line that was
// acknowledged and not deleted is missing, and the record is sound.
func TestLog_SurvivesRotationsKillsAndDeletions(t *testing.T) {
	step := rapid.Custom(func(t *rapid.T) life {
		return life{rapid.SampledFrom([]string{"decide", "decide", "push", "wait", "wait", "kill", "stop", "full", "rename", "hours"}).Draw(t, "what"), rapid.IntRange(0, 200).Draw(t, "amount")}
	})
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(step, 1, 40).Draw(rt, "steps")
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			w := &lived{t: t, k: newKeeper(t), path: filepath.Join(dir, "audit.jsonl")}
			w.start()
			for _, s := range steps {
				w.step(s)
			}
			w.stop()
			if err := w.l.Close(); err != nil {
				t.Fatal(err)
			}
			if found, err := verify(t, w.path, w.k.trust()); err != nil || len(found.Gaps) != 0 {
				t.Fatalf("after %v: %+v, %v", steps, found, err)
			}
			got := users(t, w.path, time.Time{})
			if len(got) > len(w.want) || fmt.Sprint(got) != fmt.Sprint(w.want[len(w.want)-len(got):]) || !w.expired && len(got) < len(w.want) {
				t.Fatalf("after %v: the record is about %q, want %q", steps, got, w.want)
			}
		})
		if t.Failed() {
			rt.Fatal("see above")
		}
	})
}

// life is something that happens to a log.
type life struct {
	what   string
	amount int
}

// lived is a log to which things happen.
type lived struct {
	t        *testing.T
	k        *keeper
	path     string
	l        *audit.Log
	stop     func()
	revision uint64
	want     []string
	count    int
	expired  bool
}

func (w *lived) start() {
	w.l = w.k.resume(w.t, w.path, audit.Rotation{Size: 1800, Keep: audit.Keep(3 * time.Hour)})
	w.stop = runUntil(w.l)
}

func (w *lived) step(s life) {
	t := w.t
	w.count++
	user := fmt.Sprintf("u%d", w.count)
	switch s.what {
	case "decide":
		decide(t, w.l, user)
		w.want = append(w.want, user)
	case "push":
		w.revision++
		if err := w.l.Append([]byte(`{"kind":"scim","user":"`+user+`"}`), w.revision); err != nil {
			t.Fatal(err)
		}
		w.want = append(w.want, user)
	case "wait":
		time.Sleep(time.Duration(s.amount) * time.Second)
	case "hours": // so that files are deleted
		time.Sleep(4 * time.Hour)
		w.expired = true
	case "kill": // what the kernel has stays, and a line is torn
		w.stop()
		mark := w.k.saved()
		if err := w.l.Close(); err != nil {
			t.Fatal(err)
		}
		w.k.mark = mark
		f, err := os.OpenFile(w.path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(`{"seq":`[:s.amount%8])
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		w.start()
	case "stop":
		w.stop()
		if err := errors.Join(w.l.Checkpoint(), w.l.Close()); err != nil {
			t.Fatal(err)
		}
		w.start()
	case "full":
		w.k.mu.Lock()
		if w.k.err = nil; s.amount%2 == 0 {
			w.k.err = errors.New("the store is full")
		}
		w.k.mu.Unlock()
	case "rename": // as logrotate does, and then to a name of ours, so that it can be read
		if info, err := os.Stat(w.path); err != nil || info.Size() == 0 {
			return
		}
		moved := w.path + ".moved"
		if err := os.Rename(w.path, moved); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if err := os.Rename(moved, closedName(t, w.path, moved)); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.l.LastRevision(); got != w.revision {
		t.Fatalf("the record is at revision %d, want %d", got, w.revision)
	}
}

// closedName returns a name for a closed file.
func closedName(t *testing.T, path, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var first uint64
	if _, err := fmt.Sscanf(string(text), `{"seq":%d,`, &first); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s-%020d-%s.jsonl", strings.TrimSuffix(path, ".jsonl"), first, time.Now().UTC().Format("20060102T150405Z"))
}
