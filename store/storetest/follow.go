package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"sallyport/store"
	"sallyport/store/follow"
)

// memory is a copy of a store.
type memory struct {
	store store.Store

	mu      sync.Mutex // guards the fields below
	records map[string]string
	loads   int
}

func (m *memory) load(ctx context.Context) (revision store.Revision, err error) {
	records := map[string]string{}
	err = m.store.View(ctx, func(r store.Reader) error {
		revision = r.Revision()
		for e, err := range r.Scan(nil, nil) {
			if err != nil {
				return err
			}
			records[string(e.Key)] = string(e.Value)
		}
		return nil
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records, m.loads = records, m.loads+1
	return revision, err
}

func (m *memory) apply(change store.Change) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range change.Writes {
		if w.Deleted {
			delete(m.records, string(w.Key))
		} else {
			m.records[string(w.Key)] = string(w.Value)
		}
	}
	return true
}

// get returns the value at key.
func (m *memory) get(key string) (value string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok = m.records[key]
	return value, ok
}

// follows returns memory that follows s, and its mirror, which run runs.
func follows(t *testing.T, s store.Store) (m *memory, mirror *follow.Mirror) {
	t.Helper()
	m = &memory{store: s}
	mirror, err := follow.New(context.Background(), s, m.load, m.apply)
	if err != nil {
		t.Fatal(err)
	}
	return m, mirror
}

// run runs mirror until the test or stop ends it, and returns what Run returns.
func run(t *testing.T, mirror *follow.Mirror) (ended <-chan error, stop context.CancelFunc) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- mirror.Run(ctx) }()
	t.Cleanup(stop)
	return result, stop
}

// demandEqual demands that memory has what the store has.
func (m *memory) demandEqual(t *testing.T) {
	t.Helper()
	other := &memory{store: m.store}
	if _, err := other.load(context.Background()); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !maps.Equal(m.records, other.records) {
		t.Errorf("memory has %d records that are not those of the store, which has %d", len(m.records), len(other.records))
	}
}

// testMirrorFollows: once Wait returns, memory has the revision.
func testMirrorFollows(t *testing.T, s store.Store) {
	put(t, s, "before", "0")
	m, mirror := follows(t, s)
	_, _ = run(t, mirror)
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			for n := range 40 {
				key, value := fmt.Sprintf("%d/%d", i, n%7), fmt.Sprint(n)
				revision, err := s.Update(context.Background(), func(w store.Writer) error {
					if n%5 == 4 {
						return w.Delete([]byte(key))
					}
					return w.Put([]byte(key), []byte(value))
				})
				if err := errors.Join(err, mirror.Wait(context.Background(), revision)); err != nil {
					t.Error(err)
				}
				if got, ok := m.get(key); ok != (n%5 != 4) || ok && got != value {
					t.Errorf("after revision %d memory has %q, %v at %s", revision, got, ok, key)
				}
			}
		})
	}
	writers.Wait()
	m.demandEqual(t)
}

// testMirrorReloads: memory that missed changes is loaded again.
func testMirrorReloads(t *testing.T, s store.Store) {
	m, mirror := follows(t, s)
	big := strings.Repeat("x", 1<<20)
	var last store.Revision
	for i := range 80 {
		last = put(t, s, fmt.Sprint("k", i), big)
	}
	_, _ = run(t, mirror)
	if err := mirror.Wait(context.Background(), last); err != nil {
		t.Fatal(err)
	}
	m.demandEqual(t)
	if m.loads != 2 {
		t.Errorf("memory was loaded %d times, want twice", m.loads)
	}
}

// testMirrorEnds: memory is not to be trusted once the store is closed or nobody runs the mirror.
func testMirrorEnds(t *testing.T, s store.Store) {
	_, stopped := follows(t, s)
	ended, stop := run(t, stopped)
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) || !errors.Is(stopped.Err(), follow.ErrEnded) {
		t.Errorf("a stopped mirror gives %v, then %v", err, stopped.Err())
	}
	_, mirror := follows(t, s)
	ended, _ = run(t, mirror)
	waiting := make(chan error, 1)
	go func() { waiting <- mirror.Wait(context.Background(), 1<<40) }()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, store.ErrClosed) {
		t.Errorf("Run ends with %v", err)
	}
	if err := <-waiting; !errors.Is(err, follow.ErrEnded) {
		t.Errorf("Wait returns %v", err)
	}
}
