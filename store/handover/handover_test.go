package handover_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sallyport/store"
	"sallyport/store/bolt"
	"sallyport/store/follow"
	"sallyport/store/handover"
	"sallyport/store/storetest"
)

func openBolt(t *testing.T) *bolt.Store {
	t.Helper()
	st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// pair is the two ends of a Unix socket.
func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("unix", l.Addr().String()); err == nil {
		b, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// processes is a store that a second process has taken over from a first.
type processes struct {
	first, second *handover.Store
	remote        *handover.Remote
	changes       net.Conn      // the second's end
	ended         chan struct{} // closed when the second ends the first
	gone          chan error    // the result of Remote.Run
}

// succeed has a second process take over the store of a first, which has the memory of follow.
func succeed(t *testing.T, first *handover.Store, engine store.Store) *processes {
	t.Helper()
	return succeedPatiently(t, first, engine, false)
}

// succeedPatiently is succeed with a second process that never ends the first, if patient is set.
func succeedPatiently(t *testing.T, first *handover.Store, engine store.Store, patient bool) *processes {
	t.Helper()
	var revision store.Revision
	if err := engine.View(t.Context(), func(r store.Reader) error { revision = r.Revision(); return nil }); err != nil {
		t.Fatal(err)
	}
	p := &processes{first: first, second: handover.New(engine), ended: make(chan struct{}), gone: make(chan error, 1)}
	near, far := pair(t)
	p.changes = far
	var once sync.Once
	peer := p.second.AddPeer(far, revision, func() {
		if !patient {
			once.Do(func() { close(p.ended); _ = far.Close() })
		}
	})
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { peer.Run(ctx) })
	dial := func() (net.Conn, error) {
		near, far := pair(t)
		all.Go(func() { p.second.ServeCall(ctx, far) })
		return near, nil
	}
	p.remote = handover.NewRemote(near, dial, revision)
	first.Use(p.remote)
	all.Go(func() {
		err := p.remote.Run(ctx)
		first.Fail(err)
		p.gone <- err
	})
	t.Cleanup(func() { stop(); all.Wait() })
	return p
}

// TestStore: a store is one like any other, before it is taken over and after.
func TestStore(t *testing.T) {
	t.Run("engine", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store { return handover.New(openBolt(t)) })
	})
	t.Run("remote", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store {
			engine := openBolt(t)
			return succeedPatiently(t, handover.New(engine), engine, true).first // its memory may be late
		})
	})
}

// memory is memory that follows a store, and can be made to wait.
type memory struct {
	*follow.Mirror
	mu   sync.Mutex // held: changes are not applied
	keys map[string]bool
}

func newMemory(t *testing.T, st store.Store) *memory {
	t.Helper()
	m := &memory{keys: map[string]bool{}}
	load := func(ctx context.Context) (rev store.Revision, err error) {
		err = st.View(ctx, func(r store.Reader) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			for e, err := range r.Scan(nil, nil) {
				if err != nil {
					return err
				}
				m.keys[string(e.Key)] = true
			}
			rev = r.Revision()
			return nil
		})
		return rev, err
	}
	mirror, err := follow.New(t.Context(), st, load, func(c store.Change) bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, w := range c.Writes {
			m.keys[string(w.Key)] = true
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Mirror = mirror
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = mirror.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return m
}

func (m *memory) has(key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keys[key]
}

func update(ctx context.Context, st store.Store, key string) error {
	_, err := st.Update(ctx, func(w store.Writer) error { return w.Put([]byte(key), []byte("value")) })
	return err
}

// TestSuccession_BothHaveEachChange: when either process is told that a change is stored, the memory of both has it. Calls that
// come while the store changes hands wait, and none fails.
func TestSuccession_BothHaveEachChange(t *testing.T) {
	engine := openBolt(t)
	first := handover.New(engine)
	old := newMemory(t, first)
	if err := update(t.Context(), first, "before"); err != nil {
		t.Fatal(err)
	}
	if err := first.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error, 1)
	go func() { waiting <- update(context.Background(), first, "meanwhile") }()
	p := succeed(t, first, engine)
	young := newMemory(t, p.second)
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key string
		st  store.Store
	}{{"by the first", first}, {"by the second", p.second}} {
		if err := update(t.Context(), c.st, c.key); err != nil {
			t.Fatal(err)
		}
		if c.st == p.second && !old.has(c.key) || c.st == first && !young.has(c.key) {
			t.Errorf("what was written %s is not in the memory of the other", c.key)
		}
	}
	if err := old.Err(); err != nil {
		t.Errorf("memory may not be decided from: %v", err)
	}
}

// TestSuccession_EndsProcessThatLags: a process that does not apply a change is ended before the change is acknowledged.
func TestSuccession_EndsProcessThatLags(t *testing.T) {
	engine := openBolt(t)
	first := handover.New(engine)
	old := newMemory(t, first)
	p := succeed(t, first, engine)
	old.mu.Lock()
	defer old.mu.Unlock()
	if err := update(t.Context(), p.second, "a"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
	default:
		t.Error("the change is acknowledged, and the process that lacks it was not ended")
	}
}

// TestSuccession_StaleWithoutChanges: a process that hears of no changes any more decides nothing, and its changes fail.
func TestSuccession_StaleWithoutChanges(t *testing.T) {
	engine := openBolt(t)
	first := handover.New(engine)
	old := newMemory(t, first)
	p := succeed(t, first, engine)
	changed := old.Changed()
	_ = p.changes.Close()
	<-p.gone
	<-changed
	if err := old.Err(); !errors.Is(err, store.ErrStale) {
		t.Errorf("memory may be decided from: %v", err)
	}
	if err := update(t.Context(), p.second, "b"); err != nil {
		t.Errorf("the other process waits for one that is gone: %v", err)
	}
}

// TestSuccession_Leave: nobody waits for a process that has left.
func TestSuccession_Leave(t *testing.T) {
	engine := openBolt(t)
	first := handover.New(engine)
	old := newMemory(t, first)
	p := succeed(t, first, engine)
	p.remote.Leave()
	<-p.gone
	old.mu.Lock()
	defer old.mu.Unlock()
	if err := update(t.Context(), p.second, "a"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
		t.Error("the process was ended although it had left")
	default:
	}
}

// TestHold_Bounded: what reads for long keeps the store, and calls go on.
func TestHold_Bounded(t *testing.T) {
	st := handover.New(openBolt(t))
	err := st.View(t.Context(), func(store.Reader) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := st.Hold(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Hold gives %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := update(t.Context(), st, "a"); err != nil {
		t.Error(err)
	}
}

// TestServeCall_Bounded: an update whose process does not go on is undone.
func TestServeCall_Bounded(t *testing.T) {
	engine := openBolt(t)
	p := succeed(t, handover.New(engine), engine)
	_, err := p.first.Update(t.Context(), func(w store.Writer) error {
		if err := w.Put([]byte("a"), nil); err != nil {
			return err
		}
		return errors.New("the function fails")
	})
	if err == nil || err.Error() != "the function fails" {
		t.Errorf("the update gives %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	_, err = p.first.Update(ctx, func(w store.Writer) error { stop(); return w.Put([]byte("b"), nil) })
	if err == nil {
		t.Error("an update whose context has ended is made")
	}
	if err := update(t.Context(), p.second, "c"); err != nil {
		t.Fatal(err)
	}
	err = p.second.View(t.Context(), func(r store.Reader) error {
		for e := range r.Scan(nil, nil) {
			if string(e.Key) == "a" {
				t.Errorf("%s was written", e.Key)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFollower_FailsOnce: whoever follows the store is told once that it failed, and waits for nothing after that.
func TestFollower_FailsOnce(t *testing.T) {
	s := handover.New(openBolt(t))
	f := s.Follow()
	before := f.Changed()
	s.Fail(errors.New("the other process is gone"))
	<-before
	select {
	case <-f.Changed():
		t.Error("the follower is told again and again")
	default:
	}
	if err := f.Err(); !errors.Is(err, store.ErrStale) {
		t.Errorf("the follower may decide: %v", err)
	}
}
