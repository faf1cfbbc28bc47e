package audit_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/audit"
)

// keeper is a key and the place where marks are kept.
type keeper struct {
	private ed25519.PrivateKey
	mu      sync.Mutex
	mark    audit.Mark
	err     error // of keeping
}

func newKeeper(t testing.TB) *keeper {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &keeper{private: private}
}

func (k *keeper) checkpoints() audit.Checkpoints {
	return audit.Checkpoints{Key: "test", Sign: func(text []byte) []byte { return ed25519.Sign(k.private, text) }, Keep: func(m audit.Mark) error {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.err == nil {
			k.mark = m
		}
		return k.err
	}}
}

func (k *keeper) saved() audit.Mark {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.mark
}

func (k *keeper) keys() map[string]ed25519.PublicKey {
	return map[string]ed25519.PublicKey{"test": k.private.Public().(ed25519.PublicKey)}
}

// trust is what an installation knows of its record.
func (k *keeper) trust() audit.Trust { return audit.Trust{Keys: k.keys(), Mark: k.saved()} }

// resume opens the record as a server does.
func (k *keeper) resume(t testing.TB, path string, r audit.Rotation) *audit.Log {
	t.Helper()
	l, err := audit.Resume(path, k.saved())
	if err != nil {
		t.Fatal(err)
	}
	l.Reserve(256 << 10)
	l.Rotate(r, func(err error) { t.Log(err) })
	l.SignCheckpoints(k.checkpoints())
	return l
}

// verify checks all files of the record.
func verify(t testing.TB, path string, trust audit.Trust) (audit.Checked, error) {
	t.Helper()
	r, err := audit.OpenRecord(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return r.Verify(trust)
}

// users returns the users of all events of the record, in their order.
func users(t testing.TB, path string, since time.Time) (users []string) {
	t.Helper()
	r, err := audit.OpenRecord(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Read(since, func(e audit.Event) error {
		if e.User != "" {
			users = append(users, e.User)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return users
}

func closedFiles(t testing.TB, path string) []string {
	t.Helper()
	files, err := filepath.Glob(strings.TrimSuffix(path, ".jsonl") + "-*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// decide writes a long event for each user.
func decide(t testing.TB, l *audit.Log, users ...string) {
	t.Helper()
	for _, user := range users {
		if err := l.Write(audit.Event{Time: time.Now().UTC(), Kind: audit.KindDecision, User: user, Path: "/" + strings.Repeat("x", 2000)}); err != nil {
			t.Fatal(err)
		}
	}
}

// rotated writes a record of three closed files and one that is written to, in the course of three hours, and returns where
// it is.
func rotatedRecord(t *testing.T, k *keeper, r audit.Rotation) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "audit.jsonl")
	l := k.resume(t, path, r)
	stop := runUntil(l)
	for _, user := range []string{"ada", "bob", "cleo"} {
		decide(t, l, user)
		if err := l.Append([]byte(`{"kind":"scim","user":"pushed"}`), uint64(len(closedFiles(t, path))+1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + 500*time.Millisecond)
	}
	decide(t, l, "dan")
	stop()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// runUntil runs l until the function that it returns is called.
func runUntil(l *audit.Log) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = l.Run(ctx) }()
	return func() { cancel(); <-ended }
}

// TestRun_RotatesBySize: the chain goes on over the files, whose names tell their first line and when they were closed.
func TestRun_RotatesBySize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t)
		path := rotatedRecord(t, k, audit.Rotation{Size: 1800})
		closed := closedFiles(t, path)
		if len(closed) != 3 {
			t.Fatalf("the closed files are %q", closed)
		}
		if name := filepath.Base(closed[0]); name != "audit-00000000000000000001-20000101T000001Z.jsonl" {
			t.Errorf("the first is %s", name)
		}
		found, err := verify(t, path, k.trust())
		if err != nil || found.First != 1 || found.Checkpoints < 3 || len(found.Gaps) != 0 {
			t.Errorf("%+v, %v", found, err)
		}
		if got := strings.Join(users(t, path, time.Time{}), " "); got != "ada pushed bob pushed cleo pushed dan" {
			t.Errorf("the record is about %s", got)
		}
		if got := strings.Join(users(t, path, time.Now().Add(-62*time.Minute)), " "); got != "cleo pushed dan" {
			t.Errorf("the last hour of the record is about %s", got)
		}
		l := k.resume(t, path, audit.Rotation{})
		if got := l.LastRevision(); got != 3 {
			t.Errorf("the record is at revision %d, want 3", got)
		}
		_ = l.Close()
		if info, err := os.Stat(closed[0]); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	})
}

// TestRun_RotatesByAge: the file of a record with little in it is closed too, so that what is old can be deleted.
func TestRun_RotatesByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t)
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		l := k.resume(t, path, audit.Rotation{Keep: audit.Keep(10 * 24 * time.Hour)})
		run(t, l)
		decide(t, l, "ada")
		time.Sleep(23 * time.Hour)
		if n := len(closedFiles(t, path)); n != 0 {
			t.Errorf("after 23 hours %d files are closed", n)
		}
		time.Sleep(2 * time.Hour)
		if n := len(closedFiles(t, path)); n != 1 {
			t.Errorf("after 25 hours %d files are closed", n)
		}
	})
}

// TestRun_DeletesOldFiles: that is recorded before, so that a record whose beginning is missing is sound only if the log
// itself took it away.
func TestRun_DeletesOldFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t)
		path := rotatedRecord(t, k, audit.Rotation{Size: 1800})
		l := k.resume(t, path, audit.Rotation{Keep: audit.Keep(150 * time.Minute)})
		stop := runUntil(l)
		time.Sleep(2 * time.Second)
		stop()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		closed := closedFiles(t, path)
		if len(closed) != 3 || strings.Contains(closed[0], "-00000000000000000001-") { // the newest was closed for its age
			t.Fatalf("the closed files are %q", closed)
		}
		if found, err := verify(t, path, k.trust()); err != nil || found.First == 1 {
			t.Errorf("%+v, %v", found, err)
		}
		if got := strings.Join(users(t, path, time.Time{}), " "); got != "bob pushed cleo pushed dan" {
			t.Errorf("the record is about %s", got)
		}
		if err := os.Remove(closed[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := verify(t, path, k.trust()); !errors.Is(err, audit.ErrBroken) || !strings.Contains(err.Error(), "it is not recorded that their file was deleted") {
			t.Errorf("a removed file gives %v", err)
		}
	})
}

// TestRun_DeletesByTheRecordsOwnTime: a file that somebody gave an older name stays.
func TestRun_DeletesByTheRecordsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t)
		path := rotatedRecord(t, k, audit.Rotation{Size: 1800})
		old := strings.TrimSuffix(path, ".jsonl") + "-00000000000000000001-19900101T000000Z.jsonl"
		if err := os.Rename(closedFiles(t, path)[0], old); err != nil {
			t.Fatal(err)
		}
		l := k.resume(t, path, audit.Rotation{Keep: audit.Keep(48 * time.Hour)})
		stop := runUntil(l)
		time.Sleep(2 * time.Hour)
		stop()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(old); err != nil {
			t.Error(err)
		}
		if _, err := verify(t, path, k.trust()); err != nil {
			t.Error(err)
		}
	})
}

// TestRun_RotationKeepsModes: whoever may read the file may read the next one.
func TestRun_RotationKeepsModes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, path := newKeeper(t), filepath.Join(t.TempDir(), "audit.jsonl")
		l := k.resume(t, path, audit.Rotation{Size: 1800})
		run(t, l)
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
		decide(t, l, "ada")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for _, file := range append(closedFiles(t, path), path) {
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("%s has the mode %v, %v", file, info.Mode(), err)
			}
		}
	})
}

// TestRun_SaysWhyItDoesNotRotate: the file goes on, and whoever reads the log knows why it grows.
func TestRun_SaysWhyItDoesNotRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, path := newKeeper(t), filepath.Join(t.TempDir(), "audit.jsonl")
		l := k.resume(t, path, audit.Rotation{})
		var told []string
		l.Rotate(audit.Rotation{Size: 1800}, func(err error) { told = append(told, err.Error()) })
		if err := os.Mkdir(path+".new", 0o700); err != nil {
			t.Fatal(err)
		}
		stop := runUntil(l)
		decide(t, l, "ada", "bob")
		time.Sleep(150 * time.Second)
		stop()
		if len(told) != 3 || !strings.Contains(told[0], "audit.jsonl.new: is a directory") {
			t.Errorf("told: %q", told)
		}
		if err := errors.Join(os.Remove(path+".new"), l.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := verify(t, path, k.trust()); err != nil || len(closedFiles(t, path)) != 0 {
			t.Error(err)
		}
	})
}

// TestRun_KeepsNewestFile: even if everything is old, there is a record.
func TestRun_KeepsNewestFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t)
		path := rotatedRecord(t, k, audit.Rotation{Size: 1800})
		time.Sleep(30 * time.Hour)
		l := k.resume(t, path, audit.Rotation{Keep: audit.Keep(24 * time.Hour)})
		stop := runUntil(l)
		time.Sleep(2 * time.Hour)
		stop()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if found, err := verify(t, path, k.trust()); err != nil || found.Lines == 0 {
			t.Errorf("%+v, %v", found, err)
		}
		l = k.resume(t, path, audit.Rotation{})
		if got := l.LastRevision(); got != 3 {
			t.Errorf("the record is at revision %d, want 3", got)
		}
		_ = l.Close()
	})
}

// TestVerify_FindsWhatIsMissing changes a record of several files in every way that its own chain, or what was kept of it,
// can tell.
func TestVerify_FindsWhatIsMissing(t *testing.T) {
	type record struct {
		path   string
		closed []string
	}
	change := func(path string, f func(lines [][]byte) [][]byte) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.Join(f(bytes.SplitAfter(text, []byte("\n"))), nil), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		attack func(r record)
		want   string
		resume string // what a start says; "" if it does not notice
	}{
		"middle_file_removed": {func(r record) { _ = os.Remove(r.closed[1]) }, "are missing, and the file audit-", ""},
		"first_file_removed":  {func(r record) { _ = os.Remove(r.closed[0]) }, "it is not recorded that their file was deleted", ""},
		"first_two_removed":   {func(r record) { _, _ = os.Remove(r.closed[0]), os.Remove(r.closed[1]) }, "it is not recorded that their file was deleted", ""},
		"newest_file_removed": {func(r record) { _ = os.Remove(r.path) }, "its end was cut off", ""},
		"newest_file_emptied": {func(r record) { _ = os.Truncate(r.path, 0) }, "its end was cut off", ""},
		"newest_two_removed":  {func(r record) { _, _ = os.Remove(r.path), os.Remove(r.closed[2]) }, "its end was cut off", ""},
		"former_put_in_place": {func(r record) { _ = os.Rename(r.closed[2], r.path) }, "its end was cut off", "was cut off, or the file was replaced"},
		"first_put_in_place":  {func(r record) { _ = os.Rename(r.closed[0], r.path) }, "", "was cut off, or the file was replaced"},
		"last_line_removed":   {func(r record) { change(r.path, func(l [][]byte) [][]byte { return l[:len(l)-2] }) }, "its end was cut off", "was cut off, or the file was replaced"},
		"last_line_torn":      {func(r record) { change(r.path, func(l [][]byte) [][]byte { l[len(l)-2] = l[len(l)-2][:50]; return l }) }, "has no hash", "was cut off, or the file was replaced"},
		"line_changed": {func(r record) {
			change(r.closed[1], func(l [][]byte) [][]byte {
				return bytes.SplitAfter(bytes.Replace(bytes.Join(l, nil), []byte("bob"), []byte("eve"), 1), []byte("\n"))
			})
		}, "was changed: its hash does not match", ""},
		"line_removed":        {func(r record) { change(r.closed[1], func(l [][]byte) [][]byte { return append(l[:1:1], l[2:]...) }) }, "does not follow the line before", ""},
		"end_of_file_removed": {func(r record) { change(r.closed[1], func(l [][]byte) [][]byte { return l[:len(l)-2] }) }, "are missing, and the file audit-", ""},
		"first_line_removed":  {func(r record) { change(r.closed[1], func(l [][]byte) [][]byte { return l[1:] }) }, "does not follow the last line of the file before", ""},
		"lines_swapped":       {func(r record) { change(r.closed[1], func(l [][]byte) [][]byte { l[1], l[2] = l[2], l[1]; return l }) }, "does not follow the line before", ""},
		"file_there_twice": {func(r record) {
			change(r.closed[1], func(l [][]byte) [][]byte { return append(l[:len(l)-1:len(l)-1], l...) })
		}, "does not follow the line before", ""},
		"field_behind_the_hash": {func(r record) {
			change(r.closed[1], func(l [][]byte) [][]byte {
				l[1] = append(l[1][:len(l[1])-2:len(l[1])-2], `,"user":"eve"}`+"\n"...)
				return l
			})
		}, "was changed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKeeper(t)
				path := rotatedRecord(t, k, audit.Rotation{Size: 1800})
				c.attack(record{path, closedFiles(t, path)})
				_, err := verify(t, path, k.trust())
				if !errors.Is(err, audit.ErrBroken) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("verify gives %v, want %q", err, c.want)
				}
				l, err := audit.Resume(path, k.saved())
				switch {
				case c.resume == "" && err != nil, c.resume != "" && (err == nil || !strings.Contains(err.Error(), c.resume)):
					t.Errorf("a start gives %v, want %q", err, c.resume)
				case err == nil:
					_ = l.Close()
				}
			})
		})
	}
}

// TestVerify_ChecksSignatures: a record that was written again, with a chain that fits, is not signed.
func TestVerify_ChecksSignatures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, other := newKeeper(t), newKeeper(t)
		path := rotatedRecord(t, k, audit.Rotation{})
		l := k.resume(t, path, audit.Rotation{})
		if err := errors.Join(l.Checkpoint(), l.Close()); err != nil {
			t.Fatal(err)
		}
		signed := audit.Trust{Keys: k.keys(), Signed: true}
		if found, err := verify(t, path, signed); err != nil || found.Signed != found.Last-1 {
			t.Errorf("%+v, %v", found, err)
		}
		if _, err := verify(t, path, audit.Trust{Keys: other.keys()}); !errors.Is(err, audit.ErrBroken) || !strings.Contains(err.Error(), "signature that is not valid") {
			t.Errorf("another key with the same id gives %v", err)
		}
		if _, err := verify(t, path, audit.Trust{Keys: map[string]ed25519.PublicKey{}}); !errors.Is(err, audit.ErrBroken) || !strings.Contains(err.Error(), `is signed with the key "test"`) {
			t.Errorf("an unknown key gives %v", err)
		}
		again := rotatedRecord(t, new(keeper{private: other.private}), audit.Rotation{})
		if _, err := verify(t, again, audit.Trust{Mark: k.saved()}); !errors.Is(err, audit.ErrBroken) {
			t.Errorf("a record that was written again gives %v", err)
		}
		unsigned := filepath.Join(t.TempDir(), "audit.jsonl")
		write(t, unsigned, "ada")
		if _, err := verify(t, unsigned, signed); !errors.Is(err, audit.ErrBroken) || !strings.Contains(err.Error(), "no line is signed") {
			t.Errorf("a record without signatures gives %v", err)
		}
	})
}

// TestOpenFiles_VerifiesCopies: copies are checked wherever they are, in any order; one of them alone too.
func TestOpenFiles_VerifiesCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t)
		path := rotatedRecord(t, k, audit.Rotation{Size: 1800})
		closed := closedFiles(t, path)
		check := func(want int, paths ...string) error {
			r, err := audit.OpenFiles(paths)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			found, err := r.Verify(audit.Trust{Keys: k.keys(), Signed: want > 0})
			if found.Lines != want && err == nil {
				t.Errorf("%q have %d lines, want %d", paths, found.Lines, want)
			}
			return err
		}
		all, err := verify(t, path, audit.Trust{})
		if err != nil {
			t.Fatal(err)
		}
		if err := check(all.Lines, path, closed[1], closed[2], closed[0]); err != nil {
			t.Error(err)
		}
		if err := check(5, closed[1]); err != nil {
			t.Error(err)
		}
		if err := check(0, closed[0], closed[2]); !errors.Is(err, audit.ErrBroken) || !strings.Contains(err.Error(), filepath.Base(closed[1])) {
			t.Errorf("without the file in the middle: %v", err)
		}
		if err := check(0, closed[1], closed[1]); !errors.Is(err, audit.ErrBroken) {
			t.Errorf("with one file twice: %v", err)
		}
	})
}
