package audit_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sallyport/audit"
	"sallyport/disk/disktest"
)

func write(t *testing.T, path string, users ...string) {
	t.Helper()
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range users {
		if err := l.Write(audit.Event{Time: time.Now().UTC(), Kind: audit.KindLogin, User: user, Path: "/<a>&"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpen_ContinuesChain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	write(t, path, "alice", "bob")
	write(t, path, "carol")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := audit.Verify(bytes.NewReader(data)); n != 3 || err != nil {
		t.Fatalf("%d lines, %v\n%s", n, err, data)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v", info.Mode())
	}
}

func TestVerify_DetectsTampering(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	write(t, path, "alice", "bob", "carol")
	data, _ := os.ReadFile(path)
	lines := strings.SplitAfter(string(data), "\n")
	for name, forged := range map[string]string{
		"a changed line":   strings.Replace(string(data), "bob", "eve", 1),
		"a removed line":   lines[0] + lines[2],
		"a repeated line":  lines[0] + lines[1] + lines[1] + lines[2],
		"swapped lines":    lines[1] + lines[0] + lines[2],
		"a cut first line": lines[1] + lines[2],
		"no hash":          lines[0] + `{"seq":2,"kind":"login"}` + "\n",
		"no JSON":          lines[0] + "hello\n",
	} {
		if n, err := audit.Verify(strings.NewReader(forged)); err == nil {
			t.Errorf("%s passes with %d lines", name, n)
		}
		other := filepath.Join(t.TempDir(), "forged.jsonl")
		if err := os.WriteFile(other, []byte(forged), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := audit.Open(other); err == nil {
			t.Errorf("Open accepts %s", name)
		}
	}
}

func TestOpen_RemovesTornLineAndRecordsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	write(t, path, "alice", "bob")
	data, _ := os.ReadFile(path)
	if err := os.WriteFile(path, data[:len(data)-20], 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, path, "carol")
	data, _ = os.ReadFile(path)
	if n, err := audit.Verify(bytes.NewReader(data)); n != 3 || err != nil {
		t.Fatalf("%d lines, %v\n%s", n, err, data)
	}
	if !bytes.Contains(data, []byte("torn_line_removed")) || bytes.Contains(data, []byte("bob")) {
		t.Errorf("the record is\n%s", data)
	}
}

func TestAppend_WritesEachRevisionOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	for range 2 {
		l, err := audit.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for rev := uint64(1); rev <= 3; rev++ {
			if err := l.Append([]byte(`{"kind":"scim","user":"u"}`), rev); err != nil {
				t.Fatal(err)
			}
		}
		if l.LastRevision() != 3 {
			t.Errorf("last revision is %d", l.LastRevision())
		}
		_ = l.Close()
	}
	data, _ := os.ReadFile(path)
	if n, err := audit.Verify(bytes.NewReader(data)); n != 3 || err != nil {
		t.Errorf("%d lines, %v", n, err)
	}
}

// TestAppend_IgnoresRevisionsOfDecisions: a decision names the revision that it was
// decided from, which may be newer than the last change in the record.
func TestAppend_IgnoresRevisionsOfDecisions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	for range 2 {
		l, err := audit.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Write(audit.Event{Kind: audit.KindDecision, Revision: 9}); err != nil {
			t.Fatal(err)
		}
		if err := l.Append([]byte(`{"kind":"scim","user":"u"}`), 5); err != nil {
			t.Fatal(err)
		}
		if l.LastRevision() != 5 {
			t.Errorf("last revision is %d", l.LastRevision())
		}
		_ = l.Close()
	}
	data, _ := os.ReadFile(path)
	if n := bytes.Count(data, []byte(`"kind":"scim"`)); n != 1 {
		t.Errorf("the change is recorded %d times", n)
	}
}

func TestWrite_ConcurrentWritersMakeOneChain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if err := l.Write(audit.Event{Kind: audit.KindDecision}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	_ = l.Close()
	data, _ := os.ReadFile(path)
	if n, err := audit.Verify(bytes.NewReader(data)); n != 400 || err != nil {
		t.Errorf("%d lines, %v", n, err)
	}
}

func TestWrite_FailsAfterFailedWrite(t *testing.T) {
	l, err := audit.Open(filepath.Join(t.TempDir(), "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Write(audit.Event{Kind: audit.KindDecision}); err != nil {
		t.Fatal(err)
	}
	release := fillDisk(t)
	if err := l.Write(audit.Event{Kind: audit.KindDecision}); err == nil {
		t.Error("a write to a full disk succeeds")
	}
	release()
	if err := l.Write(audit.Event{Kind: audit.KindDecision}); err == nil {
		t.Error("a write after a failed one succeeds: the failed line may be torn")
	}
}

// fillDisk makes writes fail beyond the first bytes of a file, until release is called.
func fillDisk(t *testing.T) (release func()) {
	t.Helper()
	return disktest.LimitFileSize(t, 16)
}

func TestMain(m *testing.M) { os.Exit(disktest.Main(m)) }

func TestVerify_RejectsEndlessLine(t *testing.T) {
	f, err := os.Open("/dev/zero")
	if err != nil {
		t.Skip("no /dev/zero here")
	}
	defer f.Close()
	if _, err := audit.Verify(f); err == nil {
		t.Error("an endless line passes")
	}
}

// TestVerify_SaysWhatIsWrong: the last line must be complete too.
func TestVerify_SaysWhatIsWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	write(t, path, "alice", "bob")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(data), "\n")
	for record, want := range map[string]string{
		strings.TrimSuffix(string(data), "\n"):             "line 2 does not end in a newline",
		lines[0] + "hello\n":                               "line 2 has no hash",
		lines[0] + `,"hash":"x"}` + "\n":                   "line 2 is not JSON",
		lines[1]:                                           "line 1 does not follow the line before",
		lines[0] + lines[0]:                                "line 2 does not follow the line before",
		strings.Replace(string(data), "alice", "carol", 1): "line 1 was changed",
		lines[0] + strings.Repeat("x", 1<<20) + "\n":       "longer than 1048576 bytes",
	} {
		_, err := audit.Verify(strings.NewReader(record))
		if !errors.Is(err, audit.ErrBroken) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.200q: %v, want %q", record, err, want)
		}
	}
}

func TestClose_EndsWriting(t *testing.T) {
	l, err := audit.Open(filepath.Join(t.TempDir(), "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := l.Write(audit.Event{Kind: audit.KindLogin}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(audit.Event{Kind: audit.KindLogin}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
	events, failures := l.Collectors()[0], l.Collectors()[1]
	if n := testutil.ToFloat64(events); n != 2 {
		t.Errorf("%v events are counted, want 2", n)
	}
	if n := testutil.ToFloat64(failures); n != 0 {
		t.Errorf("%v failed writes are counted, want none: nothing was written", n)
	}
}

func TestSettings_RequireFile(t *testing.T) {
	var faults []string
	fault := func(path, _ string) { faults = append(faults, path) }
	audit.Defaults().Check(fault)
	if len(faults) != 0 {
		t.Errorf("the defaults have faults at %q", faults)
	}
	audit.Settings{}.Check(fault)
	if len(faults) != 1 || faults[0] != "file" {
		t.Errorf("faults are at %q, want one at file", faults)
	}
}
