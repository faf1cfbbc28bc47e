package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
)

// TestReplicas_RecordEachChangeOnce pushes to three replicas, kills two of them, of which one comes back and one never does,
// and adds one with a fresh name: each change of the directory is in exactly one record.
func TestReplicas_RecordEachChangeOnce(t *testing.T) {
	f := newFleet(t, 3)
	pushers := make([]*pusher, len(f.replicas))
	for i, r := range f.replicas {
		pushers[i] = f.world.pusher(r)
	}
	hire := func(i int, name string) { pushers[i].hire("hired-"+name, "oid-"+name) }
	for n := range 30 {
		hire(n%3, fmt.Sprintf("first-%d", n))
	}
	for n := range 10 { // the last of them a moment before the kill
		hire(1, fmt.Sprintf("killed-%d", n))
	}
	f.replicas[1].kill()
	hire(0, "meanwhile")
	f.replicas[1] = start(t, f.replicas[1].dir)
	f.replicas[1].awaitReady(t)
	pushers[1] = f.world.pusher(f.replicas[1])
	hire(1, "back")

	lost := f.replicas[2]
	lostHires := f.loseRecord(t, lost, func(name string) { hire(2, name) })
	fresh := f.world.replica(t, f.replicas[0].dir, "fresh-7f9c")
	f.replicas = append(f.replicas[:2], fresh, lost)
	pushers[2] = f.world.pusher(fresh)
	hire(2, "fresh")

	want := 30 + 10 + 1 + 1 + lostHires + 1
	for deadline := time.Now().Add(2 * time.Minute); len(f.hires(t)) != want; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d hires are recorded:\n%s", len(f.hires(t)), want, f.replicas[0].log())
		}
	}
	recordedFor := 0
	for name, events := range f.hires(t) {
		if len(events) != 1 {
			t.Errorf("%s was recorded by %d events: %+v", name, len(events), events)
		}
		if by := events[0].Detail[audit.DetailRecordedFor]; by != "" {
			recordedFor++
			if by != "replica-3" || events[0].Detail[audit.DetailDoubt] == "" || events[0].Replica == by {
				t.Errorf("%s was recorded for another by %+v", name, events[0])
			}
		}
	}
	if recordedFor < 5 {
		t.Errorf("%d hires were recorded for the lost replica, want 5 at least", recordedFor)
	}
}

// loseRecord keeps a replica from writing its record, has it make changes, and kills it. It returns how many it made.
func (f *fleet) loseRecord(t *testing.T, r *running, hire func(name string)) (count int) {
	t.Helper()
	path := filepath.Join(r.dir, "data", "audit.jsonl")
	if err := os.Rename(path, path+".aside"); err != nil {
		t.Fatal(err)
	}
	writeFile(t, r.dir, "data/audit.jsonl", []byte("another file\n"))
	for unwritable := 0; unwritable < 5; count++ {
		hire(fmt.Sprintf("lost-%d", count))
		if strings.Contains(r.log(), "is not in the audit record yet") {
			unwritable++
		}
	}
	r.kill()
	if err := os.Rename(path+".aside", path); err != nil {
		t.Fatal(err)
	}
	return count
}

// replica starts a replica with a name of its own.
func (w *world) replica(t *testing.T, like, name string) *running {
	t.Helper()
	dir := t.TempDir()
	entries, err := os.ReadDir(like)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries { // all but data
		switch text, err := os.ReadFile(filepath.Join(like, e.Name())); {
		case err == nil:
			writeFile(t, dir, e.Name(), text)
		case e.Name() != "data":
			if err := os.CopyFS(filepath.Join(dir, e.Name()), os.DirFS(filepath.Join(like, e.Name()))); err != nil {
				t.Fatal(err)
			}
		}
	}
	other := world{t: t, dir: dir}
	other.rewrite("replica: replica-1", "replica: "+name)
	r := start(t, dir)
	r.awaitReady(t)
	return r
}

// hires returns the events of users who were created by push, by their userName, in the records of all replicas.
func (f *fleet) hires(t *testing.T) map[string][]audit.Event {
	t.Helper()
	found := map[string][]audit.Event{}
	for _, r := range f.replicas {
		file, err := os.Open(filepath.Join(r.dir, "data", "audit.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(file)
		if err = errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var e audit.Event
			if json.Unmarshal([]byte(line), &e) != nil { // it is being written
				continue
			}
			if e.Replica == "" {
				t.Fatalf("an event does not name its replica: %s", line)
			}
			if name, ok := strings.CutPrefix(e.UserName, "hired-"); ok && e.Kind == audit.KindSCIM && e.Reason == "create" {
				found[name] = append(found[name], e)
			}
		}
	}
	return found
}
