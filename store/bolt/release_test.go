package bolt_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"sallyport/store"
	"sallyport/store/bolt"
)

func commit(t *testing.T, st store.Store, key string) store.Revision {
	t.Helper()
	rev, err := st.Update(t.Context(), func(w store.Writer) error { return w.Put([]byte(key), []byte("value")) })
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// TestRelease: another process can use the store until it is taken back, and those who watch then see its changes or that
// they must read everything again.
func TestRelease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	st, err := bolt.Open(path, bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	commit(t, st, "a")
	for _, changed := range []bool{false, true} {
		if err := st.Release(); err != nil {
			t.Fatal(err)
		}
		if err := st.Release(); !errors.Is(err, store.ErrClosed) {
			t.Errorf("a second Release gives %v", err)
		}
		other, err := bolt.Open(path, bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Retake(); !errors.Is(err, store.ErrLocked) {
			t.Errorf("Retake from another gives %v", err)
		}
		if changed {
			commit(t, other, "b")
		}
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		if err := st.Retake(); err != nil {
			t.Fatal(err)
		}
		before := store.Revision(1)
		if !changed {
			before = 0 // the feed still has the first change
		}
		for _, err := range st.Watch(t.Context(), before) {
			if changed != errors.Is(err, store.ErrCompacted) {
				t.Errorf("changed %v: those who watch get %v", changed, err)
			}
			break
		}
	}
	if rev := commit(t, st, "c"); rev != 3 {
		t.Errorf("the next revision is %d", rev)
	}
	if err := st.Retake(); err == nil {
		t.Error("a store that was not released is taken back")
	}
}

// TestRelease_Close: a store that was released can be closed, and those who watch learn of it.
func TestRelease_Close(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	st, err := bolt.Open(path, bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Release(); err != nil {
		t.Fatal(err)
	}
	other, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := st.Close(); err != nil {
		t.Error(err)
	}
	for _, err := range st.Watch(context.Background(), 0) {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("those who watch get %v", err)
		}
	}
	commit(t, other, "a")
}
