package audit_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
)

// replicaLog is the record of a replica in a folder of its own.
type replicaLog struct {
	*audit.Log
	path string
}

func newReplicaLog(t *testing.T, dir, name string, sign ed25519.PrivateKey) *replicaLog {
	t.Helper()
	path := filepath.Join(dir, name, "audit.jsonl")
	l, err := audit.ResumeAs(path, audit.Options{Replica: name})
	if err != nil {
		t.Fatal(err)
	}
	l.SignCheckpoints(audit.Checkpoints{Key: "key", Sign: func(text []byte) []byte { return ed25519.Sign(sign, text) }, Keep: func(audit.Mark) error { return nil }})
	return &replicaLog{l, path}
}

// push records a change, as the one after the change of revision former that a replica made.
func (l *replicaLog) push(t *testing.T, at time.Time, revision, former uint64, formerReplica string, more ...string) {
	t.Helper()
	e := audit.Event{Time: at, Kind: audit.KindSCIM, Reason: "create", User: "u", Revision: revision, Detail: map[string]string{}}
	if former > 0 {
		e.Detail[audit.DetailFormer], e.Detail[audit.DetailFormerReplica] = fmt.Sprint(former), formerReplica
	}
	for i := 0; i < len(more); i += 2 {
		e.Detail[more[i]] = more[i+1]
	}
	if _, err := l.AppendChange(e); err != nil {
		t.Fatal(err)
	}
}

var replicaTime = time.Date(2026, 5, 3, 9, 0, 0, 0, time.UTC)

// fourChanges returns the records of two replicas, which made two changes each, in turn.
func fourChanges(t *testing.T) (a, b *replicaLog, keys map[string]ed25519.PublicKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	a, b = newReplicaLog(t, dir, "a", private), newReplicaLog(t, dir, "b", private)
	a.push(t, replicaTime, 10, 0, "")
	b.push(t, replicaTime.Add(time.Hour), 20, 10, "a")
	a.push(t, replicaTime.Add(2*time.Hour), 30, 20, "b")
	b.push(t, replicaTime.Add(3*time.Hour), 40, 30, "a")
	return a, b, map[string]ed25519.PublicKey{"key": public}
}

// compare closes records, checks each, and compares them.
func compareRecords(t *testing.T, trust audit.Trust, logs ...*replicaLog) (audit.Compared, *audit.Record) {
	t.Helper()
	var paths []string
	for _, l := range logs {
		if err := l.Checkpoint(); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, l.path)
	}
	slices.Reverse(paths)
	record, err := audit.OpenFiles(paths)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = record.Close() })
	trust.Changes = true
	checked := map[string]audit.Checked{}
	for _, part := range record.Parts() {
		found, err := part.Verify(trust)
		if err != nil {
			t.Fatalf("%s: %v", part.Replica(), err)
		}
		checked[part.Replica()] = found
	}
	return audit.CompareChanges(checked), record
}

func TestCompareChanges(t *testing.T) {
	t.Run("sound", func(t *testing.T) {
		a, b, keys := fourChanges(t)
		found, record := compareRecords(t, audit.Trust{Keys: keys, Signed: true}, a, b)
		if len(record.Parts()) != 2 || found.Changes != 4 || len(found.Twice) > 0 || len(found.Missing) > 0 {
			t.Errorf("found %+v in %d records", found, len(record.Parts()))
		}
	})
	t.Run("record_missing", func(t *testing.T) {
		a, _, _ := fourChanges(t)
		found, _ := compareRecords(t, audit.Trust{}, a)
		if want := (audit.Missing{Revision: 20, Replica: "b", Why: audit.MissingRecord}); !slices.Equal(found.Missing, []audit.Missing{want}) {
			t.Errorf("found %+v, want %+v", found.Missing, want)
		}
	})
	t.Run("line_missing", func(t *testing.T) {
		a, b, _ := fourChanges(t)
		b.push(t, replicaTime.Add(4*time.Hour), 60, 50, "a")
		a.push(t, replicaTime.Add(5*time.Hour), 70, 60, "b")
		found, _ := compareRecords(t, audit.Trust{}, a, b)
		if want := (audit.Missing{Revision: 50, Replica: "a", Why: audit.MissingLine}); !slices.Equal(found.Missing, []audit.Missing{want}) || !want.Unsound() {
			t.Errorf("found %+v, want %+v", found.Missing, want)
		}
	})
	t.Run("copied_earlier", func(t *testing.T) {
		a, b, _ := fourChanges(t)
		for range 3 {
			if err := b.Write(audit.Event{Time: replicaTime.Add(4 * time.Hour), Kind: audit.KindStart}); err != nil {
				t.Fatal(err)
			}
		}
		a.push(t, time.Now().Add(time.Hour), 60, 50, "b") // after the checkpoint at the end of b
		found, _ := compareRecords(t, audit.Trust{}, a, b)
		if want := (audit.Missing{Revision: 50, Replica: "b", Why: audit.MissingAfter}); !slices.Equal(found.Missing, []audit.Missing{want}) || want.Unsound() {
			t.Errorf("found %+v, want %+v", found.Missing, want)
		}
	})
	t.Run("twice", func(t *testing.T) {
		a, b, _ := fourChanges(t)
		b.push(t, replicaTime.Add(4*time.Hour), 30, 20, "b")
		found, _ := compareRecords(t, audit.Trust{}, a, b)
		if len(found.Twice) != 1 || found.Twice[0].Revision != 30 || found.Twice[0].Doubt {
			t.Errorf("found %+v", found.Twice)
		}
	})
	t.Run("in_doubt", func(t *testing.T) {
		a, b, _ := fourChanges(t)
		b.push(t, replicaTime.Add(4*time.Hour), 30, 20, "b", audit.DetailRecordedFor, "a", audit.DetailDoubt, "it may be twice")
		found, _ := compareRecords(t, audit.Trust{}, a, b)
		if len(found.Twice) != 1 || !found.Twice[0].Doubt {
			t.Errorf("found %+v", found.Twice)
		}
	})
}

// TestRecord_OfSeveralReplicas reads lines in the order of their times, whether all or those that are looked for.
func TestRecord_OfSeveralReplicas(t *testing.T) {
	a, b, _ := fourChanges(t)
	_, record := compareRecords(t, audit.Trust{}, a, b)
	var read, found []string
	begins, err := record.ReadLines(time.Time{}, func(l audit.Line, text []byte) error {
		if l.Kind == audit.KindSCIM {
			read = append(read, fmt.Sprintf("%d by %s", l.Revision, l.Replica))
			if !strings.Contains(string(text), l.Hash) {
				t.Errorf("the text of line %d of %s is %s", l.Seq, l.Replica, text)
			}
		}
		return nil
	})
	if err != nil || !begins.Equal(replicaTime) {
		t.Errorf("the record begins at %s (%v)", begins, err)
	}
	err = record.Search(context.Background(), audit.Search{Kinds: []audit.Kind{audit.KindSCIM}}, func(l audit.Found) error {
		found = append(found, fmt.Sprintf("%d by %s", l.Revision, l.Of))
		return nil
	})
	want := []string{"10 by a", "20 by b", "30 by a", "40 by b"}
	if err != nil || !slices.Equal(read, want) || !slices.Equal(found, want) {
		t.Errorf("read %v, found %v (%v), want %v", read, found, err, want)
	}
	for _, replica := range []string{"a", "b"} {
		text, err := record.LineOf(replica, 2)
		if err != nil || !strings.Contains(string(text), `"replica":"`+replica+`"`) {
			t.Errorf("line 2 of %s is %s (%v)", replica, text, err)
		}
	}
}

// TestRecord_BecomesThatOfAReplica: the files from before there were several replicas belong to the one that went on with them.
func TestRecord_BecomesThatOfAReplica(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "audit.jsonl")
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Write(audit.Event{Time: replicaTime, Kind: audit.KindStart}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := audit.ResumeAs(path, audit.Options{Replica: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Write(audit.Event{Time: replicaTime, Kind: audit.KindStop}); err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(whole), string(text)) {
		t.Fatalf("the record is not continued: %v", err)
	}
	other := newReplicaLog(t, dir, "b", make(ed25519.PrivateKey, ed25519.PrivateKeySize))
	if err := other.Write(audit.Event{Time: replicaTime, Kind: audit.KindStart}); err != nil {
		t.Fatal(err)
	}
	record, err := audit.OpenFiles([]string{path, other.path})
	if err != nil {
		t.Fatal(err)
	}
	defer record.Close()
	if parts := record.Parts(); len(parts) != 2 || parts[0].Replica() != "a" || parts[1].Replica() != "b" {
		t.Errorf("the parts are %d", len(parts))
	}
}
