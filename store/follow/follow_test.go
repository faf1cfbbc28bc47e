package follow_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"sallyport/store"
	"sallyport/store/bolt"
	"sallyport/store/follow"
)

// engines are the engines of the store that a Mirror must follow correctly.
var engines = map[string]func(t testing.TB, path string) store.Store{
	"bolt": func(t testing.TB, path string) store.Store {
		t.Helper()
		st, err := bolt.Open(path, bolt.Options{Init: true})
		if err != nil {
			t.Fatal(err)
		}
		return st
	},
}

// compactingStore is a store in which a test can lose changes for those who watch.
type compactingStore struct {
	store.Store
	compact atomic.Pointer[chan struct{}] // closed: every watch ends with ErrCompacted
}

func newCompactingStore(st store.Store) *compactingStore {
	f := &compactingStore{Store: st}
	f.compact.Store(new(make(chan struct{})))
	return f
}

// loseChanges ends every watch under way with ErrCompacted.
func (f *compactingStore) loseChanges() { close(*f.compact.Swap(new(make(chan struct{})))) }

func (f *compactingStore) Watch(ctx context.Context, after store.Revision) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) {
		compacted := *f.compact.Load()
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			select {
			case <-compacted:
				cancel(store.ErrCompacted)
			case <-stop:
			}
		}()
		for change, err := range f.Store.Watch(ctx, after) {
			if context.Cause(ctx) != nil {
				err = context.Cause(ctx)
			}
			if !yield(change, err) || err != nil {
				return
			}
		}
	}
}

// memory is a copy of the store, as a package that follows the store has one.
type memory struct {
	store store.Store

	mu      sync.Mutex // guards the fields below
	content map[string]string
	history []snapshot // after each load and each change
	loads   int
}

type snapshot struct {
	revision store.Revision
	content  map[string]string
}

func (m *memory) load(ctx context.Context) (revision store.Revision, err error) {
	content := map[string]string{}
	err = m.store.View(ctx, func(r store.Reader) error {
		revision = r.Revision()
		for e, err := range r.Scan(nil, nil) {
			if err != nil {
				return err
			}
			content[string(e.Key)] = string(e.Value)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loads++
	m.content = content
	m.history = append(m.history, snapshot{revision, maps.Clone(content)})
	return revision, nil
}

func (m *memory) apply(change store.Change) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range change.Writes {
		if w.Deleted {
			delete(m.content, string(w.Key))
		} else {
			m.content[string(w.Key)] = string(w.Value)
		}
	}
	m.history = append(m.history, snapshot{change.Revision, maps.Clone(m.content)})
	return true
}

func (m *memory) read() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.content)
}

// machine is a store with memory that follows it, and the content that the
// store must have at each revision.
type machine struct {
	store    *compactingStore
	memory   *memory
	mirror   *follow.Mirror
	content  map[string]string
	history  map[store.Revision]map[string]string
	revision store.Revision
	stop     func() // nil while Run does not run
}

func newMachine(t testing.TB, st store.Store) *machine {
	t.Helper()
	f := newCompactingStore(st)
	m := &machine{store: f, memory: &memory{store: f}, content: map[string]string{},
		history: map[store.Revision]map[string]string{0: {}}}
	var err error
	if m.mirror, err = follow.New(context.Background(), f, m.memory.load, m.memory.apply); err != nil {
		t.Fatal(err)
	}
	return m
}

// run starts Run and returns a function that ends it and returns its error.
func run(mirror *follow.Mirror) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mirror.Run(ctx) }()
	return func() error { cancel(); return <-ended }
}

func (m *machine) start(t *rapid.T) {
	if m.stop != nil {
		t.Skip("it runs already")
	}
	changed := m.mirror.Changed()
	stop := run(m.mirror)
	if m.mirror.Err() != nil { // until memory was loaded again
		<-changed
	}
	m.stop = func() {
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Fatalf("Run ended with %v", err)
		}
	}
}

func (m *machine) end(t *rapid.T) {
	if m.stop == nil {
		t.Skip("it does not run")
	}
	m.stop()
	m.stop = nil
	if err := m.mirror.Err(); !errors.Is(err, follow.ErrEnded) || !errors.Is(err, context.Canceled) {
		t.Fatalf("after Run ended Err is %v", err)
	}
}

// commit makes one revision of random writes.
func (m *machine) commit(t *rapid.T) {
	next := maps.Clone(m.content)
	var writes []store.Write
	for range rapid.IntRange(1, 4).Draw(t, "writes") {
		key := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "key")
		if rapid.Bool().Draw(t, "deleted") {
			writes = append(writes, store.Write{Key: []byte(key), Deleted: true})
			delete(next, key)
			continue
		}
		value := fmt.Sprint(rapid.IntRange(0, 99).Draw(t, "value"))
		writes = append(writes, store.Write{Key: []byte(key), Value: []byte(value)})
		next[key] = value
	}
	revision, err := m.store.Update(context.Background(), func(w store.Writer) error {
		for _, write := range writes {
			err := error(nil)
			if write.Deleted {
				err = w.Delete(write.Key)
			} else {
				err = w.Put(write.Key, write.Value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m.content, m.revision = next, revision
	m.history[revision] = next
}

// wait waits for the newest revision and compares memory with the store.
func (m *machine) wait(t *rapid.T) {
	err := m.mirror.Wait(context.Background(), m.revision)
	if err != nil {
		t.Fatalf("waiting for revision %d: %v", m.revision, err)
	}
	if got := m.memory.read(); !maps.Equal(got, m.content) || m.mirror.Revision() != m.revision {
		t.Fatalf("memory at revision %d has %v, the store at %d %v", m.mirror.Revision(), got, m.revision, m.content)
	}
}

// check compares every state that memory was in with the store at that revision.
func (m *machine) check(t *rapid.T) {
	m.memory.mu.Lock()
	defer m.memory.mu.Unlock()
	last := store.Revision(0)
	for _, state := range m.memory.history {
		if state.revision < last {
			t.Fatalf("memory went back from revision %d to %d", last, state.revision)
		}
		last = state.revision
		if want := m.history[state.revision]; !maps.Equal(state.content, want) {
			t.Fatalf("at revision %d memory had %v, the store %v", state.revision, state.content, want)
		}
	}
}

// TestMirror_EqualsStoreAtEachRevision commits, loses changes, and ends and
// starts Run in random order. Every state of memory must be the store's content at
// that revision, and memory must have a revision once Wait returns.
func TestMirror_EqualsStoreAtEachRevision(t *testing.T) {
	for name, open := range engines {
		t.Run(name, func(t *testing.T) {
			dir, n := t.TempDir(), 0
			rapid.Check(t, func(rt *rapid.T) {
				n++
				st := open(t, filepath.Join(dir, fmt.Sprint(n)))
				defer st.Close()
				m := newMachine(t, st)
				rt.Repeat(map[string]func(*rapid.T){
					"":             m.check,
					"commit":       m.commit,
					"start":        m.start,
					"end":          m.end,
					"lose changes": func(*rapid.T) { m.store.loseChanges() },
					"wait": func(t *rapid.T) {
						if m.stop == nil {
							t.Skip("it does not run")
						}
						m.wait(t)
					},
				})
				if m.stop == nil {
					m.start(rt)
				}
				m.commit(rt)
				m.wait(rt)
				m.end(rt)
				m.check(rt)
			})
		})
	}
}

func newMirror(t *testing.T, apply follow.Apply) (*compactingStore, *memory, *follow.Mirror) {
	t.Helper()
	st := newCompactingStore(engines["bolt"](t, filepath.Join(t.TempDir(), "store.db")))
	t.Cleanup(func() { _ = st.Close() })
	m := &memory{store: st}
	if apply == nil {
		apply = m.apply
	}
	mirror, err := follow.New(t.Context(), st, m.load, apply)
	if err != nil {
		t.Fatal(err)
	}
	return st, m, mirror
}

func put(t *testing.T, st store.Store, key string) store.Revision {
	t.Helper()
	revision, err := st.Update(t.Context(), func(w store.Writer) error { return w.Put([]byte(key), []byte("x")) })
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestMirror_ChangedClosesWhenReadsMayDiffer(t *testing.T) {
	st, _, mirror := newMirror(t, func(c store.Change) bool { return string(c.Writes[0].Key) == "seen" })
	stop := run(mirror)
	changed := mirror.Changed()
	if err := mirror.Wait(t.Context(), put(t, st, "unseen")); err != nil || isClosed(changed) {
		t.Errorf("after a change that reads do not depend on: %v, Changed closed: %v", err, isClosed(changed))
	}
	if err := mirror.Wait(t.Context(), put(t, st, "seen")); err != nil {
		t.Fatal(err)
	}
	<-changed
	changed = mirror.Changed()
	mirror.Notify()
	if !isClosed(changed) {
		t.Error("Notify does not close Changed")
	}
	changed = mirror.Changed()
	st.loseChanges()
	<-changed // loaded again
	changed = mirror.Changed()
	_ = stop()
	if !isClosed(changed) {
		t.Error("the end of Run does not close Changed")
	}
}

func TestMirror_EndOfRunEndsWait(t *testing.T) {
	st, _, mirror := newMirror(t, nil)
	stop := run(mirror)
	if err := mirror.Err(); err != nil {
		t.Errorf("while Run runs Err is %v", err)
	}
	applied := put(t, st, "a")
	if err := mirror.Wait(t.Context(), applied); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error, 1)
	go func() { waiting <- mirror.Wait(context.Background(), applied+100) }()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; !errors.Is(err, follow.ErrEnded) || !errors.Is(err, store.ErrClosed) {
		t.Errorf("Wait for a later revision gives %v", err)
	}
	if err := stop(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Run returns %v", err)
	}
	if err := mirror.Wait(t.Context(), applied); err != nil {
		t.Errorf("Wait for a revision that memory has gives %v", err)
	}
}

func TestMirror_WaitEndsWithItsContext(t *testing.T) {
	_, _, mirror := newMirror(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := mirror.Wait(ctx, 1); !errors.Is(err, context.Canceled) || errors.Is(err, follow.ErrEnded) {
		t.Errorf("Wait gives %v", err)
	}
}

func TestMirror_RunEndsWhenLoadFails(t *testing.T) {
	broken := errors.New("broken")
	fail := false
	st, m, _ := newMirror(t, nil)
	load := func(ctx context.Context) (store.Revision, error) {
		if fail {
			return 0, broken
		}
		return m.load(ctx)
	}
	mirror, err := follow.New(t.Context(), st, load, m.apply)
	if err != nil {
		t.Fatal(err)
	}
	fail = true
	if _, err := follow.New(t.Context(), st, load, m.apply); !errors.Is(err, broken) {
		t.Errorf("New gives %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- mirror.Run(context.Background()) }()
	for {
		st.loseChanges() // until Run watches
		select {
		case err := <-ended:
			if !errors.Is(err, broken) || !errors.Is(mirror.Err(), broken) {
				t.Errorf("Run gives %v, Err %v", err, mirror.Err())
			}
			return
		default:
		}
	}
}

func TestMirror_RunsOnce(t *testing.T) {
	st, _, mirror := newMirror(t, nil)
	stop := run(mirror)
	if err := mirror.Wait(t.Context(), put(t, st, "a")); err != nil {
		t.Fatal(err)
	}
	if err := mirror.Run(t.Context()); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("a second Run gives %v", err)
	}
	if err := mirror.Err(); err != nil {
		t.Errorf("after a second Run was rejected Err is %v", err)
	}
	_ = stop()
}

// skipping is a store whose watch leaves a revision out.
type skipping struct{ store.Store }

func (s skipping) Watch(ctx context.Context, after store.Revision) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) {
		yield(store.Change{Revision: after + 2}, nil)
	}
}

// silent is a store whose watch ends without an error.
type silent struct{ store.Store }

func (silent) Watch(context.Context, store.Revision) iter.Seq2[store.Change, error] {
	return func(func(store.Change, error) bool) {}
}

func TestMirror_EndsIfStoreSkipsChanges(t *testing.T) {
	st, _, _ := newMirror(t, nil)
	for name, st := range map[string]store.Store{"a revision": skipping{st}, "every change": silent{st}} {
		m := &memory{store: st}
		mirror, err := follow.New(t.Context(), st, m.load, m.apply)
		if err != nil {
			t.Fatal(err)
		}
		if err := mirror.Run(t.Context()); err == nil || !errors.Is(mirror.Err(), follow.ErrEnded) {
			t.Errorf("%s: Run gives %v, Err %v", name, err, mirror.Err())
		}
		if len(m.history) != 1 {
			t.Errorf("%s: memory has %v", name, m.history)
		}
	}
}
