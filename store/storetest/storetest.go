// Package storetest has the tests that every engine of the store must pass, alone and
// under store/follow.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"sallyport/store"
)

// Run tests an engine. open makes a new, empty store, which the test closes.
func Run(t *testing.T, open func(*testing.T) store.Store) {
	for name, test := range map[string]func(*testing.T, store.Store){
		"reads return what was written":              testReadBack,
		"keys come in order":                         testOrder,
		"an error undoes the update":                 testUndo,
		"a writer reads what it wrote":               testOwnWrites,
		"a view reads one revision":                  testIsolation,
		"each update has a revision of its own":      testRevisions,
		"an update without writes makes no revision": testNoRevision,
		"a watch yields changes in order":            testWatch,
		"a watch ends with its context":              testWatchEnds,
		"a watch from a lost revision is an error":   testCompaction,
		"a failed update does not fail others":       testConcurrentFailures,
		"an ended context prevents an update":        testEndedContext,
		"a closed store returns ErrClosed":           testClosed,
		"memory follows every change":                testMirrorFollows,
		"memory that missed changes is loaded again": testMirrorReloads,
		"memory ends with its store":                 testMirrorEnds,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() { _ = s.Close() })
			test(t, s)
		})
	}
}

func put(t *testing.T, s store.Store, pairs ...string) store.Revision {
	t.Helper()
	rev, err := s.Update(context.Background(), func(w store.Writer) error {
		for i := 0; i < len(pairs); i += 2 {
			if err := w.Put([]byte(pairs[i]), []byte(pairs[i+1])); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// dump returns the content under prefix, beginning with the key from, as "k=v k=v".
func dump(t *testing.T, s store.Store, prefix, from string) string {
	t.Helper()
	var out []string
	err := s.View(context.Background(), func(r store.Reader) error {
		for e, err := range r.Scan([]byte(prefix), []byte(from)) {
			if err != nil {
				return err
			}
			out = append(out, string(e.Key)+"="+string(e.Value))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

func testReadBack(t *testing.T, s store.Store) {
	put(t, s, "a", "1", "b", "", "c", "3")
	put(t, s, "a", "2")
	_, err := s.Update(context.Background(), func(w store.Writer) error { return errors.Join(w.Delete([]byte("c")), w.Delete([]byte("nothing"))) })
	if err != nil {
		t.Fatal(err)
	}
	if got := dump(t, s, "", ""); got != "a=2 b=" {
		t.Errorf("the store has %q", got)
	}
	err = s.View(context.Background(), func(r store.Reader) error { _, err := r.Get([]byte("c")); return err })
	if !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a deleted key gives %v", err)
	}
}

func testOrder(t *testing.T, s store.Store) {
	put(t, s, "x/b", "2", "w", "0", "x/c", "3", "x/a", "1", "y", "9", "x/\x00", "n", "x/\xff", "f")
	if got := dump(t, s, "x/", ""); got != "x/\x00=n x/a=1 x/b=2 x/c=3 x/\xff=f" {
		t.Errorf("prefix x/ has %q", got)
	}
	if got := dump(t, s, "x/", "x/b"); got != "x/b=2 x/c=3 x/\xff=f" {
		t.Errorf("from x/b there is %q", got)
	}
	if got := dump(t, s, "x/", "a"); !strings.HasPrefix(got, "x/\x00=n") {
		t.Errorf("from before the prefix there is %q", got)
	}
}

func testUndo(t *testing.T, s store.Store) {
	put(t, s, "a", "1")
	failure := errors.New("failed on purpose")
	_, err := s.Update(context.Background(), func(w store.Writer) error {
		return errors.Join(w.Put([]byte("a"), []byte("2")), w.Put([]byte("b"), []byte("2")), failure)
	})
	if !errors.Is(err, failure) {
		t.Errorf("the error is %v", err)
	}
	if got := dump(t, s, "", ""); got != "a=1" {
		t.Errorf("the store has %q", got)
	}
	put(t, s, "c", "3") // the store still accepts writes
}

func testOwnWrites(t *testing.T, s store.Store) {
	put(t, s, "a", "1", "c", "3")
	_, err := s.Update(context.Background(), func(w store.Writer) error {
		if err := errors.Join(w.Put([]byte("b"), []byte("2")), w.Delete([]byte("c"))); err != nil {
			return err
		}
		var keys []string
		for e, err := range w.Scan(nil, nil) {
			if err != nil {
				return err
			}
			keys = append(keys, string(e.Key))
		}
		if !slices.Equal(keys, []string{"a", "b"}) {
			t.Errorf("within the update there are %v", keys)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func testIsolation(t *testing.T, s store.Store) {
	put(t, s, "a", "1")
	err := s.View(context.Background(), func(r store.Reader) error {
		done := make(chan error)
		go func() {
			_, err := s.Update(context.Background(), func(w store.Writer) error { return w.Put([]byte("a"), []byte("2")) })
			done <- err
		}()
		if err := <-done; err != nil {
			return err
		}
		v, err := r.Get([]byte("a"))
		if string(v) != "1" {
			t.Errorf("the reader sees %q", v)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func testRevisions(t *testing.T, s store.Store) {
	const writers, each = 16, 20
	var mu sync.Mutex
	seen := map[store.Revision]bool{}
	var updates sync.WaitGroup
	for i := range writers {
		updates.Go(func() {
			for n := range each {
				rev, err := s.Update(context.Background(), func(w store.Writer) error {
					return w.Put(fmt.Appendf(nil, "%d/%d", i, n), []byte("x"))
				})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				if seen[rev] {
					t.Errorf("revision %d was given twice", rev)
				}
				seen[rev] = true
				mu.Unlock()
			}
		})
	}
	updates.Wait()
	for rev := store.Revision(1); rev <= writers*each; rev++ {
		if !seen[rev] {
			t.Errorf("revision %d was skipped", rev)
		}
	}
}

func testNoRevision(t *testing.T, s store.Store) {
	before := put(t, s, "a", "1")
	rev, err := s.Update(context.Background(), func(store.Writer) error { return nil })
	if rev != before || err != nil {
		t.Errorf("revision went from %d to %d, %v", before, rev, err)
	}
}

func testWatch(t *testing.T, s store.Store) {
	put(t, s, "before", "0")
	first := put(t, s, "a", "1", "b", "2")
	if _, err := s.Update(context.Background(), func(w store.Writer) error { return w.Delete([]byte("a")) }); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		_, _ = s.Update(ctx, func(w store.Writer) error { return w.Put([]byte("later"), []byte("3")) })
	}()
	var got []string
	for change, err := range s.Watch(ctx, first-1) {
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range change.Writes {
			got = append(got, fmt.Sprintf("%d:%s=%s,%v", change.Revision-first, w.Key, w.Value, w.Deleted))
		}
		if change.Revision == first+2 {
			break
		}
	}
	if want := "0:a=1,false 0:b=2,false 1:a=,true 2:later=3,false"; strings.Join(got, " ") != want {
		t.Errorf("watched %v, want %s", got, want)
	}
}

func testWatchEnds(t *testing.T, s store.Store) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	for _, err := range s.Watch(ctx, 0) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the watch ends with %v", err)
		}
	}
}

func testCompaction(t *testing.T, s store.Store) {
	big := strings.Repeat("x", 1<<20)
	for i := range 80 {
		put(t, s, fmt.Sprint("k", i), big)
	}
	for _, err := range s.Watch(context.Background(), 0) {
		if !errors.Is(err, store.ErrCompacted) {
			t.Errorf("a watch from the beginning gives %v", err)
		}
		return
	}
}

func testConcurrentFailures(t *testing.T, s store.Store) {
	failure := errors.New("failed on purpose")
	var updates sync.WaitGroup
	for i := range 64 {
		updates.Go(func() {
			_, err := s.Update(context.Background(), func(w store.Writer) error {
				if err := w.Put(fmt.Appendf(nil, "%02d", i), []byte("x")); err != nil {
					return err
				}
				if i%8 == 0 {
					return failure
				}
				return nil
			})
			if (i%8 == 0) != errors.Is(err, failure) {
				t.Errorf("update %d gives %v", i, err)
			}
		})
	}
	updates.Wait()
	if got := strings.Count(dump(t, s, "", ""), "="); got != 56 {
		t.Errorf("%d of 56 updates are there", got)
	}
}

func testEndedContext(t *testing.T, s store.Store) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	_, err := s.Update(ctx, func(w store.Writer) error { return w.Put([]byte("a"), nil) })
	if !errors.Is(err, context.Canceled) || dump(t, s, "", "") != "" {
		t.Errorf("an update whose context ended gives %v", err)
	}
}

func testClosed(t *testing.T, s store.Store) {
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.View(context.Background(), func(store.Reader) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a view gives %v", err)
	}
	if _, err := s.Update(context.Background(), func(w store.Writer) error { return w.Put([]byte("a"), nil) }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("an update gives %v", err)
	}
	for _, err := range s.Watch(context.Background(), 0) {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("a watch gives %v", err)
		}
	}
}
