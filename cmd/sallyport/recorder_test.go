package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/store"
	"sallyport/store/bolt"
)

// TestRecorder_RecordsEachChangeOnce: whatever is killed, stopped, started again with its files or without them, and taken
// over, each change of the directory is in the records of the replicas once; or it says that it may be there twice.
func TestRecorder_RecordsEachChangeOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newRecorderWorld(t)
		defer w.close()
		for range rapid.IntRange(5, 40).Draw(t, "steps") {
			w.step(rapid.IntRange(0, len(w.replicas)-1).Draw(t, "replica"))
		}
		w.check()
	})
}

// TestRecorder_OneProcessForEachName: a process that is not the last to have begun the record of a name keeps no mark of it.
// If the store knows of none, since a backup was restored, the process goes on.
func TestRecorder_OneProcessForEachName(t *testing.T) {
	st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	ctx, first := t.Context(), ""
	if first, _, err = claimRecord(ctx, st, "a"); err != nil {
		t.Fatal(err)
	}
	mark := func(writer string, again bool) error {
		_, err := st.Update(ctx, func(w store.Writer) error {
			return updateReplica(w, "a", writer, again, func(rec *replicaRecord) { rec.Mark.Line++ })
		})
		return err
	}
	second, before, err := claimRecord(ctx, st, "a")
	if err != nil || before.Writer != first {
		t.Fatalf("the writer before is %q, want %q (%v)", before.Writer, first, err)
	}
	if err := errors.Join(disclaimRecord(ctx, st, "a", second, before), mark(first, false)); err != nil {
		t.Errorf("the first process keeps no mark after the second one has given the record back: %v", err)
	}
	if second, before, err = claimRecord(ctx, st, "a"); err != nil || before.Writer != first {
		t.Fatalf("the writer before is %q, want %q (%v)", before.Writer, first, err)
	}
	if err := mark(first, false); !errors.Is(err, errNameTaken) {
		t.Errorf("the first process keeps a mark: %v", err)
	}
	if err := errors.Join(mark(second, false), mark(first, true), mark(first, false)); err != nil {
		t.Errorf("the process that writes keeps no mark: %v", err)
	}
	_, err = st.Update(ctx, func(w store.Writer) error { return w.Delete(replicaKey("a")) })
	if err = errors.Join(err, mark(second, false)); err != nil {
		t.Errorf("after a restore: %v", err)
	}
	if _, _, err := claimRecord(ctx, livingStore{st, []string{"a"}}, "a"); err != nil {
		t.Errorf("a process on this host does not begin: %v", err)
	}
	_, err = st.Update(ctx, func(w store.Writer) error { return putReplica(w, "a", replicaRecord{Writer: "w", Host: "elsewhere"}) })
	if _, _, refused := claimRecord(ctx, livingStore{st, []string{"a"}}, "a"); err != nil || refused == nil || !strings.Contains(refused.Error(), "elsewhere") {
		t.Errorf("the name of a server that runs on another host is taken: %v", refused)
	}
	if _, _, err := claimRecord(ctx, livingStore{st, nil}, "a"); err != nil {
		t.Errorf("the name of a server that is gone cannot be taken: %v", err)
	}
}

// TestRecorder_KeepsItsNameAfterFailedUpgrade: while the record is in the hands of another process, which claims it and fails after all, the former
// process keeps no mark, and has not lost its name. Then it has the name again at once, and its record is not closed.
func TestRecorder_KeepsItsNameAfterFailedUpgrade(t *testing.T) {
	w := &recorderWorld{dir: t.TempDir()}
	st, err := bolt.Open(filepath.Join(w.dir, "store.db"), bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	w.store = st
	t.Cleanup(func() { _ = st.Close() })
	r := &recordingReplica{name: "a", path: filepath.Join(w.dir, "audit.jsonl")}
	w.start(r)
	if err := errors.Join(r.record.Write(audit.Event{Time: time.Now().UTC(), Kind: audit.KindStart}), r.record.Checkpoint()); err != nil {
		t.Fatal(err)
	}
	own := w.stored(t, r)
	if own.Writer != r.recorder.writer || own.Mark.Line == 0 {
		t.Fatalf("the store has %+v", own)
	}
	if err := r.record.Release(); err != nil {
		t.Fatal(err)
	}
	next := &recordingReplica{name: r.name, path: r.path}
	w.start(next)
	if err := r.recorder.keep(r.record.Mark()); !errors.Is(err, errNotOurs) {
		t.Errorf("the former process keeps a mark: %v", err)
	}
	if err := errors.Join(next.record.Close(), next.recorder.close()); err != nil {
		t.Fatal(err)
	}
	if got := w.stored(t, r); got.Writer != next.recorder.writer || !got.Closed {
		t.Fatalf("the store has %+v", got)
	}
	r.record.Retake()
	r.recorder.reclaim()
	if got := w.stored(t, r); got.Writer != own.Writer || got.Closed || got.Mark != own.Mark {
		t.Errorf("the store has %+v", got)
	}
	if err := errors.Join(r.record.Write(audit.Event{Time: time.Now().UTC(), Kind: audit.KindStop}), r.record.Close(), r.recorder.close()); err != nil {
		t.Error(err)
	}
}

// stored returns what the store has of the record of a replica.
func (w *recorderWorld) stored(t *testing.T, r *recordingReplica) (rec replicaRecord) {
	t.Helper()
	err := w.store.View(t.Context(), func(reader store.Reader) (err error) {
		rec, err = readReplica(reader, r.name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// livingStore knows which replicas run.
type livingStore struct {
	store.Store
	names []string
}

func (l livingStore) Living(context.Context) ([]string, error) { return l.names, nil }

// recorderWorld is some replicas whose steps are taken one by one.
type recorderWorld struct {
	t        *rapid.T
	dir      string
	store    *bolt.Store
	replicas []*recordingReplica
	former   []string // files that were moved elsewhere
	pushed   map[uint64]string
}

type recordingReplica struct {
	name, path string
	record     *audit.Log // nil: it does not run
	recorder   *recorder
	dead       *mortal
}

// mortal is the store as a process has it, until it is killed.
type mortal struct {
	store.Store
	killed bool
}

var errKilled = errors.New("killed")

func (m *mortal) Update(ctx context.Context, fn func(store.Writer) error) (store.Revision, error) {
	if m.killed {
		return 0, errKilled
	}
	return m.Store.Update(ctx, fn)
}

func newRecorderWorld(t *rapid.T) *recorderWorld {
	dir, err := os.MkdirTemp("", "recorder-")
	if err != nil {
		t.Fatal(err)
	}
	st, err := bolt.Open(filepath.Join(dir, "store.db"), bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	w := &recorderWorld{t: t, dir: dir, store: st, pushed: map[uint64]string{}}
	for _, name := range []string{"a", "b", "c"} {
		r := &recordingReplica{name: name, path: filepath.Join(dir, name, "audit.jsonl")}
		w.replicas = append(w.replicas, r)
		w.start(r)
	}
	return w
}

func (w *recorderWorld) close() {
	for _, r := range w.replicas {
		if r.record != nil {
			w.kill(r)
		}
	}
	_ = w.store.Close()
	_ = os.RemoveAll(w.dir)
}

func (w *recorderWorld) start(r *recordingReplica) {
	r.dead = &mortal{Store: w.store}
	r.recorder = &recorder{name: r.name, store: r.dead, log: slog.New(slog.DiscardHandler), written: map[uint64]uint64{}, turn: make(chan struct{}, 1)}
	writer, before, err := claimRecord(context.Background(), w.store, r.name)
	if err != nil {
		w.t.Fatal(err)
	}
	r.recorder.writer, r.recorder.known = writer, before.Writer != ""
	if r.record, err = audit.ResumeAs(r.path, audit.Options{Mark: before.Mark, Replica: r.name}); err != nil {
		w.t.Fatalf("%s does not start: %v", r.name, err)
	}
	r.recorder.record = r.record
	r.record.SignCheckpoints(audit.Checkpoints{Keep: r.recorder.keep})
	if err := r.recorder.begin(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

// kill ends a replica as a kill does: what it wrote is in its file, and the store hears nothing any more.
func (w *recorderWorld) kill(r *recordingReplica) {
	r.dead.killed = true
	_ = r.record.Close()
	r.record = nil
}

func (w *recorderWorld) step(i int) {
	r := w.replicas[i]
	if r.record == nil {
		w.stepOfStopped(r)
		return
	}
	switch rapid.IntRange(0, 9).Draw(w.t, "action of "+r.name) {
	case 0:
		w.kill(r)
	case 1:
		if err := errors.Join(r.recorder.recordLeft(context.Background(), maxLeft), r.record.Close(), r.recorder.close()); err != nil {
			w.t.Fatal(err)
		}
		r.record = nil
	case 2, 3:
		if err := r.record.Checkpoint(); err != nil {
			w.t.Fatal(err)
		}
	case 4, 5, 6:
		if err := r.recorder.recordLeft(context.Background(), rapid.IntRange(1, 3).Draw(w.t, "records")); err != nil {
			w.t.Fatal(err)
		}
	default:
		w.push(r)
	}
}

func (w *recorderWorld) stepOfStopped(r *recordingReplica) {
	other := w.replicas[rapid.IntRange(0, len(w.replicas)-1).Draw(w.t, "other")]
	switch rapid.IntRange(0, 3).Draw(w.t, "action with "+r.name) {
	case 0:
		w.start(r)
	case 1: // the folder is lost with the machine, or somebody moved it
		moved := fmt.Sprintf("%s.%d", filepath.Dir(r.path), len(w.former))
		if err := os.Rename(filepath.Dir(r.path), moved); err != nil {
			w.t.Fatal(err)
		}
		w.former = append(w.former, filepath.Join(moved, "audit.jsonl"))
		w.start(r)
	case 2, 3:
		if other.record != nil {
			w.recordFor(other, r)
		}
	}
}

func (w *recorderWorld) recordFor(by, from *recordingReplica) {
	if err := by.recorder.recordFor(context.Background(), from.name, from.recorder.writer); err != nil {
		w.t.Fatal(err)
	}
}

func (w *recorderWorld) push(r *recordingReplica) {
	revision, err := w.store.Update(context.Background(), func(wr store.Writer) error {
		event, err := json.Marshal(audit.Event{Time: time.Now().UTC(), Kind: audit.KindSCIM, Reason: "create", User: "u"})
		if err != nil {
			return err
		}
		return directory.PutRecord(wr, directory.Record{Received: time.Now(), Event: event, Origin: directory.Origin{Replica: r.name}})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.pushed[uint64(revision)] = r.name
}

// check lets every replica record what is left, and reads all files.
func (w *recorderWorld) check() {
	paths := w.former
	for _, r := range w.replicas {
		if r.record == nil {
			w.start(r)
		}
		if err := r.recorder.recordLeft(context.Background(), maxLeft); err != nil {
			w.t.Fatal(err)
		}
		paths = append(paths, r.path)
	}
	found := map[uint64][]audit.Event{}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			w.t.Fatal(err)
		}
		_, err = audit.Read(f, func(e audit.Event) error {
			if e.Kind == audit.KindSCIM {
				found[e.Revision] = append(found[e.Revision], e)
			}
			return nil
		})
		if err = errors.Join(err, f.Close()); err != nil && !errors.Is(err, io.EOF) {
			w.t.Fatalf("%s: %v", path, err)
		}
	}
	for revision, name := range w.pushed {
		events := found[revision]
		doubted := 0
		for _, e := range events {
			if e.Detail[audit.DetailDoubt] != "" {
				doubted++
			}
		}
		if len(events)-doubted > 1 || len(events) == 0 {
			w.t.Fatalf("revision %d of %s is recorded by %d events, of which %d are in doubt: %v", revision, name, len(events), doubted, events)
		}
	}
}
