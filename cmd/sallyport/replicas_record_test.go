package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/store/postgres/postgrestest"
)

// TestReplicas_RecordEachChangeOnce pushes to three replicas, kills two of them, of which one comes back and one never does,
// and adds one with a fresh name: each change of the directory is in exactly one record.
func TestReplicas_RecordEachChangeOnce(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
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
	hire(0, "last")

	want := 30 + 10 + 1 + 1 + lostHires + 2
	for deadline := time.Now().Add(2 * time.Minute); len(f.hires(t)) != want; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d hires are recorded:\n%s", len(f.hires(t)), want, f.replicas[0].log())
		}
	}
	recordedFor := 0
	for name, events := range f.hires(t) {
		certain := 0
		for _, e := range events {
			by, doubt := e.Detail[audit.DetailRecordedFor], e.Detail[audit.DetailDoubt]
			if doubt == "" {
				certain++
			}
			if by != "" {
				recordedFor++
			}
			if by != "" && (by != "replica-3" || doubt == "" || e.Replica == by) {
				t.Errorf("%s was recorded for another by %+v", name, e)
			}
		}
		if certain > 1 || len(events) > 2 {
			t.Errorf("%s was recorded by %d events: %+v", name, len(events), events)
		}
	}
	if recordedFor < 5 {
		t.Errorf("%d hires were recorded for the lost replica, want 5 at least", recordedFor)
	}
	f.verifyRecords(t, lost)
}

// verifyRecords stops the replicas and verifies their records together, with the keys that one of them gives; then without
// those of a replica.
func (f *fleet) verifyRecords(t *testing.T, lost *running) {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key.json")
	writeFile(t, filepath.Dir(key), "key.json", []byte(f.replicas[1].verb("audit", "key")))
	var paths []string
	for _, r := range f.replicas {
		if r.dir != lost.dir {
			r.shutDown()
		}
		paths = append(paths, filepath.Join(r.dir, "data", "audit.jsonl"))
	}
	var out, errs bytes.Buffer
	verify := func(paths ...string) int {
		out.Reset()
		errs.Reset()
		return run(t.Context(), append([]string{"audit", "verify"}, paths...), nil, &out, &errs)
	}
	if code := verify(paths...); code != exitOK || !strings.Contains(out.String(), "in the records of 4 replicas") {
		t.Errorf("the records are not sound (%d): %s%s", code, &out, &errs)
	}
	if code := verify(paths[0], paths[1], paths[3]); code != exitDenied || !strings.Contains(errs.String(), "the files of fresh-7f9c are missing") {
		t.Errorf("without the record of a replica: %d, %s%s", code, &out, &errs)
	}
	if code := verify("--key", key, paths[0], paths[1], paths[2]); code != exitDenied || !strings.Contains(errs.String(), "the files of replica-3 are missing") {
		t.Errorf("without the record of the lost replica, which signed nothing: %d, %s%s", code, &out, &errs)
	}
	if code := verify("--key", key, paths[1]); code != exitOK || !strings.Contains(out.String(), "of replica-2 alone") {
		t.Errorf("of the record of one replica: %d, %s%s", code, &out, &errs)
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

// TestReplicas_ReceiptOfAllRecords: a person has live requests on three replicas when they are deactivated on one. The
// receipt that one makes of the records of all has every cut.
func TestReplicas_ReceiptOfAllRecords(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	f := newFleet(t, 3)
	var live []liveRequest
	for _, r := range f.replicas {
		live = append(live, f.at(r).openAll(t)...)
	}
	f.push.setActive(f.alice, "False")
	alone := f.replicas[0]
	eventually(t, "every replica has cut what it had", func() bool {
		cuts := 0
		for _, r := range f.replicas {
			out, _ := r.try("audit", "export", "--kind", "cut", "-o", "jsonl")
			cuts += strings.Count(out, `"kind":"cut"`)
		}
		return cuts == len(live)
	})
	text, code := alone.try("audit", "receipt", "alice@example.com")
	if r := opened(t, text); code != exitOK || r.Enforced.Cuts != len(live)/3 || !slices.Equal(r.NotRead, []string{"replica-2", "replica-3"}) {
		t.Errorf("the receipt of one record has %d cuts, and names %v", r.Enforced.Cuts, r.NotRead)
	}
	ask := []string{"audit", "receipt", "alice@example.com"}
	for _, r := range f.replicas[1:] {
		r.shutDown() // which signs what it wrote
		ask = append(ask, "--file", filepath.Join(r.dir, "data", "audit.jsonl"))
	}
	text, code = alone.try(ask...)
	r := opened(t, text)
	if code != exitOK || r.Enforced.Cuts != len(live) || len(r.Cuts) != len(live) || r.Enforced.Sessions != 1 || len(r.NotRead) > 0 || len(r.Records) != 3 || len(r.Replicas) != 3 {
		t.Errorf("the receipt of three records has %d cuts and %d sessions, of %v without %v", r.Enforced.Cuts, r.Enforced.Sessions, r.Replicas, r.NotRead)
	}
	forged := filepath.Join(t.TempDir(), "audit.jsonl")
	whole, err := os.ReadFile(ask[len(ask)-1])
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Dir(forged), "audit.jsonl", bytes.Replace(whole, []byte(`"reason":"inactive_user"`), []byte(`"reason":"session_ended"`), 1))
	if out, code := alone.try("audit", "receipt", "alice@example.com", "--file", forged); code != exitError {
		t.Errorf("of a record that was changed there is a receipt (%d): %s", code, out)
	}
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
